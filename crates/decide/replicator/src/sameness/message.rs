//! Messages without what varies in them.

/// What is looked at, characters.
const CHARS_MAX: usize = 600;
/// Shortest run of hexadecimal digits, at least one a decimal one, that is a number.
const HEX_MIN: usize = 8;
/// Words from which on a quoted text is a sentence rather than a value.
const PROSE_WORDS: usize = 3;
/// What follows on the same line are values that were compared.
const VALUES: [&str; 8] = [
    " left: ",
    " right: ",
    " Left: ",
    " expected: ",
    " Expected: ",
    " received: ",
    " actual: ",
    " got: ",
];

/// The first line without numbers, times, addresses, identifiers, quoted values and directories.
///
/// `connect 127.0.0.1:40123: /tmp/a1/data.db of 'x'` is `connect #: data.db of ''`.
#[must_use]
pub fn normalized(message: &str) -> String {
    let line = message
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let values = VALUES.iter().filter_map(|mark| line.find(mark)).min();
    let line = &line[..values.unwrap_or(line.len())];
    let letters: Vec<char> = line.chars().take(CHARS_MAX).collect();
    let mut out = String::new();
    let mut at = 0;
    while at < letters.len() {
        let before = at.checked_sub(1).map(|before| letters[before]);
        at = match letters[at] {
            quote @ ('\'' | '"') if !before.is_some_and(char::is_alphanumeric) => {
                quoted(&letters, at, quote, &mut out)
            }
            letter if is_part(letter) => word(&letters, at, &mut out),
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
    collapsed(out.trim())
}

fn is_part(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '/' | '_' | '-' | '.' | '\\' | '+' | '%')
}

fn quoted(letters: &[char], start: usize, quote: char, out: &mut String) -> usize {
    let mut end = start + 1;
    while end < letters.len() && letters[end] != quote {
        end += if letters[end] == '\\' { 2 } else { 1 };
    }
    let inside: String = letters[start + 1..end.min(letters.len())].iter().collect();
    let is_prose = inside.split_whitespace().count() >= PROSE_WORDS;
    if is_prose {
        // Somebody's words, not a value.
        out.push(quote);
        out.push_str(&normalized(&inside));
        out.push(quote);
    } else {
        out.push_str("''");
    }
    // Where the quote was cut off, the rest of it is a value, too.
    letters.len().min(end + 1)
}

/// A word: letters, digits, and what holds numbers, identifiers and paths together.
fn word(letters: &[char], start: usize, out: &mut String) -> usize {
    let length = letters[start..]
        .iter()
        .take_while(|letter| is_part(**letter))
        .count();
    let end = start + length;
    let whole: String = letters[start..end].iter().collect();
    let word = whole.trim_end_matches(['.', '-']);
    let name = match word.rfind(['/', '\\']) {
        // A path: its last part, and that only when it is no made-up one.
        Some(at) if word.starts_with(['/', '\\', '.']) || word.matches('/').count() > 1 => {
            &word[at + 1..]
        }
        _ => word,
    };
    if is_number(name) {
        out.push('#');
    } else {
        let mut before = ' ';
        for letter in name.chars() {
            let shown = if letter.is_ascii_digit() { '#' } else { letter };
            if !(shown == '#' && before == '#') {
                out.push(shown);
            }
            before = shown;
        }
    }
    out.push_str(&whole[word.len()..]);
    end
}

/// Numbers, times, addresses of memory, UUIDs, hashes, versions: what is mostly digits.
fn is_number(word: &str) -> bool {
    let core = word.trim_start_matches(['-', '+']);
    let hex = core.strip_prefix("0x").unwrap_or(core);
    let has_digit = core.bytes().any(|it| it.is_ascii_digit());
    let all = |text: &str, is: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|it| is(&it));
    let is_hex = hex.len() < core.len() || hex.len() >= HEX_MIN;
    let is_plain = core.starts_with(|it: char| it.is_ascii_digit())
        && core
            .trim_end_matches(|it: char| it.is_alphabetic() || it == '%')
            .len()
            + 3
            >= core.len()
        && all(
            core.trim_end_matches(|it: char| it.is_alphabetic() || it == '%'),
            |it| {
                it.is_ascii_digit() || matches!(it, b'.' | b'-' | b'_' | b'e' | b'E' | b'T' | b'+')
            },
        );
    let is_hex = is_hex && all(hex, |it| it.is_ascii_hexdigit() || *it == b'-');
    let is_special = matches!(core, "inf" | "nan" | "NaN" | "Infinity");
    (has_digit && (is_plain || is_hex)) || is_special
}

/// `#, #, #` is `#`, `#:#:#` is `#`: how many there are varies, too.
fn collapsed(text: &str) -> String {
    let mut text = text.replace("-#", "#");
    for (from, to) in [
        ("#, #", "#"),
        ("'', ''", "''"),
        ("#:#", "#"),
        ("# #", "#"),
        ("#.#", "#"),
        ("#,#", "#"),
    ] {
        while text.contains(from) {
            text = text.replace(from, to);
        }
    }
    text
}

/// Share of the words of two normalized messages that both have, 0 to 1; 1 when neither has any.
pub(crate) fn common_words(one: &str, other: &str) -> f64 {
    use std::collections::BTreeSet;
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|letter: char| !letter.is_alphabetic())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (one, other) = (words(one), words(other));
    let all = one.union(&other).count();
    if all == 0 {
        return 1.0;
    }
    one.intersection(&other).count() as f64 / all as f64
}
