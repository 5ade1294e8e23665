//! Coupons: a word of four letters and the percent that it saves, `SAVE10`.

/// Words that count.
const WORDS: [&str; 3] = ["SAVE", "CAFÉ", "MOIN"];

/// Most that a coupon saves.
const PERCENT: u64 = 30;

/// What the code saves, percent; none for one that does not count.
pub(crate) fn percent(code: &str) -> Option<u64> {
    let digits = code.find(|letter: char| letter.is_ascii_digit())?;
    let (word, number) = code.split_at(digits);
    known(word, number)
}

/// [`crate::defects::Defect::Crash`]: takes four bytes for four letters, and panics where the
/// fourth byte lies within a letter.
pub(crate) fn percent_by_bytes(code: &str) -> Option<u64> {
    if code.len() < 5 {
        return None;
    }
    let (word, number) = (&code[..4], &code[4..]);
    known(word, number)
}

fn known(word: &str, number: &str) -> Option<u64> {
    let percent = number.parse().ok()?;
    (WORDS.contains(&word) && percent <= PERCENT).then_some(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coupons_count_or_do_not() {
        assert_eq!(percent("SAVE10"), Some(10));
        assert_eq!(percent("CAFÉ15"), Some(15));
        for nothing in ["", "SAVE", "SAVE99", "GIVE10", "10", "SAVE1O"] {
            assert_eq!(percent(nothing), None, "{nothing}");
        }
        assert_eq!(percent_by_bytes("SAVE10"), Some(10));
        assert!(std::panic::catch_unwind(|| percent_by_bytes("CAFÉ15")).is_err());
    }
}
