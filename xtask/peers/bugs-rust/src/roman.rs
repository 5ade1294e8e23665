//! Roman numerals.

/// The value of one letter.
fn value(letter: char) -> Option<u32> {
    Some(match letter {
        'I' => 1,
        'V' => 5,
        'X' => 10,
        'L' => 50,
        'C' => 100,
        'M' => 1000,
        _ => return None,
    })
}

/// The number; none if it is no numeral.
pub fn parse(text: &str) -> Option<u32> {
    let mut sum = 0;
    let mut before = 0;
    for letter in text.chars().rev() {
        let value = value(letter)?;
        if value < before {
            sum -= value;
        } else {
            sum += value;
            before = value;
        }
    }
    (sum > 0).then_some(sum)
}

/// A year as a film's closing titles have it.
pub fn year(text: &str) -> u32 {
    let title = text.trim().trim_start_matches("Copyright ");
    let year = parse(title);
    year.unwrap() // the fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers() {
        assert_eq!(parse("XIV"), Some(14));
        assert_eq!(parse("LXXX"), Some(80));
        assert_eq!(parse("IX"), Some(9));
    }

    #[test]
    fn no_numerals() {
        assert_eq!((parse("abc"), parse("")), (None, None));
    }

    #[test]
    fn years() {
        assert_eq!(year("Copyright MCMXCIX"), 1999);
        assert_eq!(year("MMXX"), 2020);
    }

    #[test]
    fn a_title_without_a_year() {
        assert_eq!(year("Copyright Acme"), 0);
    }
}
