//! Numbers and names as a person reads them. Numbers are cut, never rounded up, so that
//! `59.99 s` does not become `60.0 s`.
//!
//! Promise: what a test calls itself or prints cannot move the cursor, break a line or reorder the
//! text around it.

use unicode_width::UnicodeWidthChar;

const KIB: u64 = 1024;
const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// Time in words: `840 us`, `1.2 ms`, `124 ms`, `1.24 s`, `3 m 05 s`, `2 h 03 m`.
#[must_use]
pub fn duration(us: u64) -> String {
    let seconds = us / 1_000_000;
    match us {
        0 => "0 s".to_owned(),
        1..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{}.{} ms", us / 1_000, us / 100 % 10),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..10_000_000 => format!("{seconds}.{:02} s", us / 10_000 % 100),
        10_000_000..60_000_000 => format!("{seconds}.{} s", us / 100_000 % 10),
        60_000_000..3_600_000_000 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Size in words: `0 B`, `1.5 GiB`, `512 MiB`.
#[must_use]
pub fn bytes(size: u64) -> String {
    if size < KIB {
        return format!("{size} B");
    }
    let mut power = 0;
    let mut unit_bytes = KIB;
    while power + 1 < UNITS.len() && size / unit_bytes >= KIB {
        power += 1;
        unit_bytes *= KIB;
    }
    let whole = size / unit_bytes;
    let tenth = size % unit_bytes * 10 / unit_bytes;
    if whole < 10 && tenth > 0 {
        format!("{whole}.{tenth} {}", UNITS[power])
    } else {
        format!("{whole} {}", UNITS[power])
    }
}

/// `12`, `5,000`, `1,234,567`.
#[must_use]
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 test`, `5,000 tests`, `2 processes`.
#[must_use]
pub fn counted(value: u64, noun: &str) -> String {
    let ending = match value {
        1 => "",
        _ if noun.ends_with('s') || noun.ends_with("sh") => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", number(value))
}

/// A decimal number with as many places as its size deserves: `0.031`, `1.24`, `96`.
#[must_use]
pub fn decimal(value: f64) -> String {
    if !value.is_finite() {
        return "unknown".to_owned();
    }
    let places = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `value` with its unit as the analyzer names it: bytes and seconds in their own words.
#[must_use]
pub fn measured(value: f64, unit: &str) -> String {
    let whole = |value: f64| value.max(0.0) as u64;
    match unit {
        "bytes" => bytes(whole(value)),
        "bytes/s" => format!("{}/s", bytes(whole(value))),
        "s" => duration(whole(value * 1e6)),
        "us" => duration(whole(value)),
        "" => decimal(value),
        _ => format!("{} {unit}", decimal(value)),
    }
}

/// Columns that printable `text` takes in a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// `name` on one line: controls, invisible and direction-changing characters are escaped.
#[must_use]
pub fn printable(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_alphanumeric() || matches!(c, '\'' | '"' | '\\') {
            out.push(c);
        } else {
            out.extend(c.escape_debug());
        }
    }
    out
}

/// `name`, printable and at most `columns` wide: the middle is left out, more of the end is kept
/// because that is where names of tests differ.
#[must_use]
pub fn shorten(name: &str, columns: usize) -> String {
    let name = printable(name);
    if width(&name) <= columns {
        return name;
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    let head = take(name.chars(), room / 3);
    let tail: Vec<char> = take(name.chars().rev(), room - room / 3);
    head.into_iter()
        .chain(['…'])
        .chain(tail.into_iter().rev())
        .collect()
}

/// `text` cut at the end to `columns`.
#[must_use]
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    take(text.chars(), room).into_iter().chain(['…']).collect()
}

fn take(characters: impl Iterator<Item = char>, columns: usize) -> Vec<char> {
    let mut left = columns;
    let mut taken = Vec::new();
    for c in characters {
        let wide = c.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        taken.push(c);
    }
    taken
}

/// Output of a test, safe to print: line ends, tabs and, when `color` is on, colours stay (and are
/// switched off at its end); every other escape sequence is dropped and every control is escaped.
#[must_use]
pub fn tame(output: &str, color: bool) -> String {
    let mut out = String::with_capacity(output.len());
    let mut colored = false;
    let mut rest = output;
    while let Some(c) = rest.chars().next() {
        if c == '\u{1b}' {
            let sequence = escape_sequence(rest);
            if color && is_color(sequence) {
                out.push_str(sequence);
                colored = true;
            }
            rest = &rest[sequence.len()..];
            continue;
        }
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => {}
            c if c.is_control() || is_bidi(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    if colored {
        out.push_str("\u{1b}[0m");
    }
    out
}

/// The escape sequence at the start of `text` (ECMA-48 section 5.4: `ESC [ parameters final`), or
/// `ESC` alone.
fn escape_sequence(text: &str) -> &str {
    let bytes = text.as_bytes();
    if bytes.get(1) != Some(&b'[') {
        return &text[..1];
    }
    let mut end = 2;
    while end < bytes.len() && (0x20..=0x3f).contains(&bytes[end]) {
        end += 1;
    }
    if end < bytes.len() && (0x40..=0x7e).contains(&bytes[end]) {
        end += 1;
    }
    &text[..end]
}

fn is_color(sequence: &str) -> bool {
    sequence
        .strip_prefix("\u{1b}[")
        .and_then(|rest| rest.strip_suffix('m'))
        .is_some_and(|codes| {
            codes
                .bytes()
                .all(|b| b.is_ascii_digit() || b == b';' || b == b':')
        })
}

/// Characters that reorder the text around them (Unicode TR9).
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn durations() {
        let cases = [
            (0, "0 s"),
            (840, "840 us"),
            (1_290, "1.2 ms"),
            (124_900, "124 ms"),
            (1_240_000, "1.24 s"),
            (12_390_000, "12.3 s"),
            (59_999_999, "59.9 s"),
            (185_000_000, "3 m 05 s"),
            (7_380_000_000, "2 h 03 m"),
        ];
        for (us, words) in cases {
            assert_eq!(duration(us), words);
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (512 << 20, "512 MiB"),
            (3 << 29, "1.5 GiB"),
            ((1 << 30) - 1, "1023 MiB"),
            (u64::MAX, "16383 PiB"),
        ];
        for (size, words) in cases {
            assert_eq!(bytes(size), words);
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(5_000), "5,000");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(counted(1, "test"), "1 test");
        assert_eq!(counted(2, "test"), "2 tests");
        assert_eq!(decimal(0.0312), "0.031");
        assert_eq!(decimal(1.0), "1");
        assert_eq!(decimal(120.4), "120");
        assert_eq!(decimal(f64::NAN), "unknown");
        assert_eq!(measured(1_572_864.0, "bytes/s"), "1.5 MiB/s");
        assert_eq!(measured(1.5, "cores"), "1.5 cores");
    }

    #[test]
    fn names_keep_their_end() {
        assert_eq!(
            shorten("parser::tests::reads_an_empty_file", 20),
            "parser…an_empty_file"
        );
        assert_eq!(shorten("short", 20), "short");
        assert_eq!(shorten("two\nlines\u{1b}[2J", 40), "two\\nlines\\u{1b}[2J");
        assert_eq!(shorten("it's \"quoted\"", 40), "it's \"quoted\"");
        assert_eq!(shorten("测试用例名字", 7), "测…名字");
        assert_eq!(shorten("anything", 0), "");
    }

    #[test]
    fn output_cannot_drive_the_terminal() {
        assert_eq!(tame("a\r\nb\tc", false), "a\nb\tc");
        assert_eq!(tame("\u{1b}[31mred\u{1b}[0m", false), "red");
        assert_eq!(tame("\u{1b}[31mred", true), "\u{1b}[31mred\u{1b}[0m");
        assert_eq!(tame("\u{1b}[2J\u{1b}[?25lx\u{7}\u{1b}", true), "x\\u{7}");
        assert_eq!(tame("\u{1b}]0;title\u{7}", true), "]0;title\\u{7}");
    }

    proptest! {
        #[test]
        fn a_shortened_name_fits_on_one_line(name in any::<String>(), columns in 0_usize..200) {
            let short = shorten(&name, columns);
            prop_assert!(width(&short) <= columns);
            prop_assert!(short.width() <= columns, "{short:?} is {} wide", short.width());
            prop_assert!(!short.chars().any(char::is_control));
        }

        #[test]
        fn tame_output_has_no_controls(output in any::<String>()) {
            let tame = tame(&output, false);
            prop_assert!(!tame.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }

        #[test]
        fn tame_output_has_only_colors(parts in proptest::collection::vec("\u{1b}|\\[|[0-9;?]{0,3}|[a-zA-Z]|é|\n", 0..30)) {
            let tame = tame(&parts.concat(), true);
            for (at, _) in tame.match_indices('\u{1b}') {
                prop_assert!(is_color(escape_sequence(&tame[at..])));
            }
        }

        #[test]
        fn any_number_has_words(us in any::<u64>(), value in any::<f64>()) {
            prop_assert!(duration(us).contains(' '));
            prop_assert!(bytes(us).contains(' '));
            prop_assert!(!measured(value, "bytes").is_empty());
        }
    }
}
