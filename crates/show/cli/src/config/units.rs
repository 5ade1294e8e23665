//! Times and sizes as people write them: `1h30m`, `90s`, `2GiB`, `512M`. A number alone is refused,
//! because what it counts would be a guess.

/// Microseconds of each unit, largest first.
const TIMES: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Bytes of each unit. `K` and `KiB` are 1024 as in cgroups and systemd; `KB` is 1000.
const SIZES: [(&str, u64); 13] = [
    ("B", 1),
    ("K", 1 << 10),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("M", 1 << 20),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("G", 1 << 30),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("T", 1 << 40),
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
];

/// Why a text is no time or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// Not a number in front.
    #[error("{0:?} does not begin with a number; write for example {1}")]
    NoNumber(String, &'static str),
    /// Nothing behind the number.
    #[error("{0:?} has no unit; write for example \"{1}\"")]
    NoUnit(String, String),
    /// Something else behind the number.
    #[error("{0:?} has the unknown unit {1:?}; known are {2}")]
    UnknownUnit(String, String, String),
    /// `1m2h`, `1s1s`.
    #[error("{0:?} names its units out of order; write the largest first, each once, as in 1h30m")]
    Order(String),
    /// `1.2.3`.
    #[error("{0:?} holds {1:?}, which is no number")]
    BadNumber(String, String),
    /// None of all, or all, or more.
    #[error("{0:?} is not between 0 and 1, that is between 0 % and 100 %")]
    NoShare(String),
    /// More than can be counted.
    #[error("{0:?} is too large")]
    TooLarge(String),
}

/// Microseconds of `text`: one or more numbers with units, largest first.
pub(crate) fn time_us(text: &str) -> Result<u64, Error> {
    let mut rest = text.trim();
    let mut total_us = 0_u64;
    let mut last = None;
    loop {
        let (number, unit, behind) = split(rest);
        if number.is_empty() {
            return Err(Error::NoNumber(text.to_owned(), "90s or 1h30m"));
        }
        if unit.is_empty() {
            return Err(Error::NoUnit(text.to_owned(), format!("{}s", text.trim())));
        }
        let place = TIMES.iter().position(|(name, _)| *name == unit);
        let Some(place) = place else {
            return Err(unknown(text, unit, TIMES.iter().map(|(name, _)| *name)));
        };
        if last.is_some_and(|last| last >= place) {
            return Err(Error::Order(text.to_owned()));
        }
        last = Some(place);
        let part_us = times(text, number, TIMES[place].1)?;
        let sum = total_us.checked_add(part_us);
        total_us = sum.ok_or_else(|| Error::TooLarge(text.to_owned()))?;
        rest = behind.trim_start();
        if rest.is_empty() {
            return Ok(total_us);
        }
    }
}

/// Bytes of `text`: a number with a unit.
pub(crate) fn bytes(text: &str) -> Result<u64, Error> {
    let trimmed = text.trim();
    let end = number_end(trimmed);
    let (number, unit) = (&trimmed[..end], trimmed[end..].trim());
    if number.is_empty() {
        return Err(Error::NoNumber(text.to_owned(), "2GiB or 512M"));
    }
    if unit.is_empty() {
        return Err(Error::NoUnit(text.to_owned(), format!("{trimmed}GiB")));
    }
    let size = SIZES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let Some((_, size)) = size else {
        return Err(unknown(text, unit, SIZES.iter().map(|(name, _)| *name)));
    };
    times(text, number, *size)
}

/// A share of all, without its ends: `0.1%`, `95 %`, `0.001`.
pub(crate) fn share(text: &str) -> Result<f64, Error> {
    let trimmed = text.trim();
    let (number, whole) = match trimmed.strip_suffix('%') {
        Some(number) => (number.trim_end(), 100.0),
        None => (trimmed, 1.0),
    };
    if number_end(number) == 0 {
        return Err(Error::NoNumber(text.to_owned(), "0.1% or 0.001"));
    }
    let bad = |_| Error::BadNumber(text.to_owned(), number.to_owned());
    let share = number.parse::<f64>().map_err(bad)? / whole;
    if share > 0.0 && share < 1.0 {
        return Ok(share);
    }
    Err(Error::NoShare(text.to_owned()))
}

/// Number, unit and what is behind.
fn split(text: &str) -> (&str, &str, &str) {
    let (number, rest) = text.split_at(number_end(text));
    let rest = rest.trim_start();
    let end = rest
        .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
        .unwrap_or(rest.len());
    (number, &rest[..end], &rest[end..])
}

fn number_end(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len())
}

/// `number` times `unit`, exactly for whole numbers.
fn times(text: &str, number: &str, unit: u64) -> Result<u64, Error> {
    if !number.contains('.') {
        let product = number
            .parse::<u64>()
            .ok()
            .and_then(|whole| whole.checked_mul(unit));
        return product.ok_or_else(|| Error::TooLarge(text.to_owned()));
    }
    let bad = |_| Error::BadNumber(text.to_owned(), number.to_owned());
    let product = number.parse::<f64>().map_err(bad)? * unit as f64;
    if product < 2_f64.powi(63) {
        Ok(product as u64)
    } else {
        Err(Error::TooLarge(text.to_owned()))
    }
}

fn unknown<'a>(text: &str, unit: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.collect();
    Error::UnknownUnit(text.to_owned(), unit.to_owned(), known.join(", "))
}

/// `us` as it would be written: `1h30m`.
pub(crate) fn write_time(us: u64) -> String {
    let mut left = us;
    let mut text = String::new();
    for (name, unit_us) in TIMES {
        if left >= unit_us {
            text.push_str(&format!("{}{name}", left / unit_us));
            left %= unit_us;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// `size` as it would be written: `512MiB`; exact.
pub(crate) fn write_bytes(size: u64) -> String {
    let mut binary = SIZES.iter().rev().filter(|(name, _)| name.ends_with("iB"));
    let whole = binary.find(|(_, unit)| size > 0 && size.is_multiple_of(*unit));
    whole.map_or_else(
        || format!("{size}B"),
        |(name, unit)| format!("{}{name}", size / unit),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares() {
        assert_eq!(share("0.1%"), Ok(0.001));
        assert_eq!(share(" 95 % "), Ok(0.95));
        assert_eq!(share("0.25"), Ok(0.25));
        for (text, why) in [
            ("1", "between 0 and 1"),
            ("0", "between 0 and 1"),
            ("100%", "between 0 and 1"),
            ("often", "does not begin with a number"),
            ("-1%", "does not begin with a number"),
            ("0.1.2%", "no number"),
            ("0.1x", "no number"),
        ] {
            let said = share(text).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn times() {
        let cases = [
            ("90s", 90_000_000),
            ("1h30m", 5_400_000_000),
            ("1h 30m", 5_400_000_000),
            ("1.5h", 5_400_000_000),
            ("250ms", 250_000),
            (" 2d ", 172_800_000_000),
        ];
        for (text, us) in cases {
            assert_eq!(time_us(text), Ok(us), "{text}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("2GiB", 2 << 30),
            ("512M", 512 << 20),
            ("512m", 512 << 20),
            ("1.5 GiB", 3 << 29),
            ("1MB", 1_000_000),
            ("77B", 77),
        ];
        for (text, size) in cases {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let time = |text| time_us(text).unwrap_err().to_string();
        let size = |text| bytes(text).unwrap_err().to_string();
        assert_eq!(time("90"), r#""90" has no unit; write for example "90s""#);
        assert_eq!(
            time("soon"),
            r#""soon" does not begin with a number; write for example 90s or 1h30m"#
        );
        assert_eq!(
            time("1h30"),
            r#""1h30" has no unit; write for example "1h30s""#
        );
        assert!(time("30m1h").contains("out of order"));
        assert_eq!(
            time("3 weeks"),
            r#""3 weeks" has the unknown unit "weeks"; known are d, h, m, s, ms, us"#
        );
        assert!(time("99999999999999d").contains("too large"));
        assert!(time("").contains("does not begin with a number"));
        assert!(time("-1s").contains("does not begin with a number"));
        assert_eq!(size("2"), r#""2" has no unit; write for example "2GiB""#);
        assert!(size("2 potatoes").contains("unknown unit \"potatoes\""));
        assert_eq!(
            size("1.2.3G"),
            r#""1.2.3G" holds "1.2.3", which is no number"#
        );
        assert!(size("99999999999T").contains("too large"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any::<u64>()) {
            prop_assert_eq!(time_us(&write_time(value)), Ok(value));
            prop_assert_eq!(bytes(&write_bytes(value)), Ok(value));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), near in "[0-9.]{0,4} ?[dhmsuKMGTiB]{0,4}[0-9]{0,2}[ms]?") {
            for text in [text, near] {
                let (_, _) = (time_us(&text), bytes(&text));
            }
        }
    }
}
