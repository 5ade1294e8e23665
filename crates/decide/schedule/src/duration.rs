//! Durations as k6 reads them: `1m30s`, `500ms`, `1d2h`, and plain numbers of milliseconds.

const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-3),
    ("us", 1.0),
    ("µs", 1.0),
    ("ms", 1e3),
    ("s", 1e6),
    ("m", 6e7),
    ("h", 3.6e9),
    ("d", 8.64e10),
];

/// What is longer than ten years is a slip.
const US_MAX: f64 = 10.0 * 365.0 * 8.64e10;

/// Microseconds; `None` when it is no duration, negative, or longer than ten years.
pub(crate) fn from_text(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(ms) = text.parse::<f64>() {
        return from_ms(ms);
    }
    let mut rest = text;
    let mut us = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .filter(|digits| *digits > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let length = rest
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(rest.len());
        let (_, unit_us) = UNITS.iter().find(|(name, _)| *name == &rest[..length])?;
        us += number * unit_us;
        rest = &rest[length..];
    }
    (!text.is_empty()).then(|| in_range(us)).flatten()
}

/// Microseconds of a number of milliseconds.
pub(crate) fn from_ms(ms: f64) -> Option<u64> {
    in_range(ms * 1e3)
}

/// As k6 writes it: `1h0m0s`, `1m30s`, `1.5s`, `500ms`.
pub(crate) fn in_words(us: u64) -> String {
    match us {
        0 => "0s".to_owned(),
        1..1_000 => format!("{us}µs"),
        1_000..1_000_000 => format!("{}ms", us as f64 / 1e3),
        _ => {
            let (minutes, seconds) = (us / 60_000_000, (us % 60_000_000) as f64 / 1e6);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

fn in_range(us: f64) -> Option<u64> {
    (0.0..=US_MAX).contains(&us).then_some(us.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_k6_reads_them() {
        for (text, us) in [
            ("1m30s", Some(90_000_000)),
            ("500ms", Some(500_000)),
            ("1.5h", Some(5_400_000_000)),
            ("1d2h", Some(93_600_000_000)),
            ("250", Some(250_000)),
            ("0s", Some(0)),
            ("10µs", Some(10)),
            ("", None),
            ("-1s", None),
            ("10 s", None),
            ("s", None),
            ("1x", None),
            ("1m30", None),
            ("9999999d", None),
            ("NaN", None),
            ("1..2s", None),
        ] {
            assert_eq!(from_text(text), us, "{text}");
        }
    }
}
