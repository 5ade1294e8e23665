//! Equal for the same bug, different for different ones, as far as a log can tell.
//!
//! With a trace, a bug is its class and where it was raised: the innermost three functions of the
//! program's own, and the line of the innermost. The message does not count, since it says what was
//! asked for rather than what is wrong; columns and the beginnings of paths do not either. Without a
//! trace the message is all there is, and counts without what varies in it.

use super::{Frame, Raised};

/// Own frames that count.
const FRAMES: usize = 3;
/// Parts of a path that count, from its end.
const PATH_PARTS: usize = 2;
/// What counts of a message, characters.
const MESSAGE_CHARS_MAX: usize = 160;
/// Shortest run of hexadecimal digits, at least one a decimal one, that is a number.
const HEX_MIN: usize = 8;

/// The fingerprint: 16 hexadecimal digits.
#[must_use]
pub fn fingerprint(raised: &Raised) -> String {
    let mut hash = Hash::new();
    hash.add(&raised.kind);
    let own: Vec<&Frame> = raised
        .frames
        .iter()
        .filter(|frame| frame.own)
        .take(FRAMES)
        .collect();
    let frames = if own.is_empty() {
        raised.frames.iter().take(FRAMES).collect()
    } else {
        own
    };
    if frames.is_empty() {
        hash.add(&normalized(&raised.message));
    }
    for (depth, frame) in frames.into_iter().enumerate() {
        hash.add(&steady_name(&frame.function));
        hash.add(&tail(&frame.file));
        if depth == 0 {
            hash.add(&frame.line.to_string());
        }
    }
    format!("{:016x}", hash.0)
}

/// A message without numbers, identifiers, quoted text and the beginnings of paths.
#[must_use]
pub fn normalized(message: &str) -> String {
    let chars: Vec<char> = message.chars().take(4 * MESSAGE_CHARS_MAX).collect();
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        let before = at.checked_sub(1).map(|before| chars[before]);
        at = match chars[at] {
            quote @ ('\'' | '"' | '`') if !before.is_some_and(char::is_alphanumeric) => {
                skip_quoted(&chars, at, quote, &mut out)
            }
            letter if letter.is_alphanumeric() || matches!(letter, '/' | '_') => {
                take_word(&chars, at, &mut out)
            }
            blank if blank.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
                at + 1
            }
            other => {
                out.push(other);
                at + 1
            }
        };
    }
    out.trim().chars().take(MESSAGE_CHARS_MAX).collect()
}

fn skip_quoted(chars: &[char], start: usize, quote: char, out: &mut String) -> usize {
    let end = chars[start + 1..]
        .iter()
        .position(|letter| *letter == quote);
    match end {
        Some(length) => {
            out.push_str("''");
            start + length + 2
        }
        None => {
            out.push(quote);
            start + 1
        }
    }
}

/// A word: letters, digits, and what holds identifiers and paths together.
fn take_word(chars: &[char], start: usize, out: &mut String) -> usize {
    let is_part =
        |letter: &char| letter.is_alphanumeric() || matches!(letter, '/' | '_' | '-' | '.');
    let length = chars[start..]
        .iter()
        .take_while(|letter| is_part(letter))
        .count();
    let end = start + length.max(1);
    let word: String = chars[start..end].iter().collect();
    if word.starts_with('/') && word[1..].contains('/') {
        out.push_str(word.rsplit('/').next().unwrap_or_default());
        return end;
    }
    let mut first = true;
    for part in word.split_inclusive(['/', '_', '-', '.']) {
        let core = part.trim_end_matches(['/', '_', '-', '.']);
        let is_number = core.chars().any(|letter| letter.is_ascii_digit())
            && (core.chars().all(|letter| letter.is_ascii_digit())
                || core.strip_prefix("0x").is_some_and(is_hex)
                || (core.len() >= HEX_MIN && is_hex(core)));
        let varies = is_number || (word.len() == 36 && is_uuid(&word));
        if varies {
            if first || !out.ends_with('#') {
                out.push('#');
            }
        } else {
            out.extend(
                part.chars()
                    .map(|letter| if letter.is_ascii_digit() { '#' } else { letter }),
            );
        }
        first = false;
    }
    end
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_hexdigit())
}

fn is_uuid(word: &str) -> bool {
    let parts: Vec<usize> = word
        .split('-')
        .filter(|part| is_hex(part))
        .map(str::len)
        .collect();
    parts == [8, 4, 4, 4, 12]
}

/// A function without what compilers and proxies number: hashes, generated classes, addresses.
fn steady_name(function: &str) -> String {
    let function = match function.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && is_hex(hash) => name,
        _ => function,
    };
    let mut name = String::new();
    for letter in function.chars() {
        match letter {
            '0'..='9' if name.ends_with('#') => {}
            '0'..='9' => name.push('#'),
            other => name.push(other),
        }
    }
    name
}

fn tail(path: &str) -> String {
    let mut parts: Vec<&str> = path.rsplit(['/', '\\']).take(PATH_PARTS).collect();
    parts.reverse();
    parts.retain(|part| !matches!(*part, "" | "."));
    parts.join("/")
}

/// FNV-1a, 64 bits: small, and the same in every version.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_is_taken_out() {
        for (message, expected) in [
            ("user 4711 not found", "user # not found"),
            ("key 'abc' missing", "key '' missing"),
            ("can't open /home/x/data.db", "can't open data.db"),
            (
                "order 3f2b8c1e-1234-4a5b-9c8d-0123456789ab failed",
                "order # failed",
            ),
            ("at 0x7fff12ab", "at #"),
            ("token deadbeef00 rejected", "token # rejected"),
            ("connect 10.0.0.1:5432 refused", "connect #:# refused"),
            ("it's 5 o'clock", "it's # o'clock"),
            ("facade is no number", "facade is no number"),
        ] {
            assert_eq!(normalized(message), expected, "{message}");
        }
    }

    fn raised(message: &str, frames: &[(&str, &str, u32)]) -> Raised {
        Raised {
            kind: "rust panic".to_owned(),
            message: message.to_owned(),
            frames: frames
                .iter()
                .map(|(function, file, line)| Frame {
                    function: (*function).to_owned(),
                    file: (*file).to_owned(),
                    line: *line,
                    own: true,
                })
                .collect(),
            plain_line: false,
            thread: String::new(),
        }
    }

    #[test]
    fn the_place_counts_and_the_wording_does_not() {
        let one = fingerprint(&raised(
            "no laptop",
            &[("f", "/home/ci/shop/src/cart.rs", 10)],
        ));
        let same = fingerprint(&raised("no phone", &[("f", "src/cart.rs", 10)]));
        assert_eq!(one, same);
        let other_line = fingerprint(&raised("no phone", &[("f", "src/cart.rs", 12)]));
        let other_file = fingerprint(&raised("no phone", &[("f", "src/user.rs", 10)]));
        assert!(one != other_line && one != other_file);
        let bare = fingerprint(&raised("user 1 gone", &[]));
        assert_eq!(bare, fingerprint(&raised("user 22 gone", &[])));
        assert_ne!(bare, fingerprint(&raised("cart 1 gone", &[])));
    }

    #[test]
    fn compiled_names_are_steady() {
        assert_eq!(steady_name("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(steady_name("main.f.func12"), "main.f.func#");
    }
}
