//! Ranges of numbers, as people write them: `1-3,7`.

/// All numbers of the ranges, in their order.
pub fn numbers(text: &str) -> Result<Vec<u32>, String> {
    let mut all = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                all.extend(first..last); // the fault
            }
            None => all.push(number(part)?),
        }
    }
    Ok(all)
}

fn number(text: &str) -> Result<u32, String> {
    let text = text.trim();
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

/// How many there are.
pub fn count(text: &str) -> usize {
    numbers(text).map_or(0, |numbers| numbers.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_numbers() {
        assert_eq!(numbers("3, 1,2"), Ok(vec![3, 1, 2]));
    }

    #[test]
    fn nothing() {
        assert_eq!(numbers(""), Ok(vec![]));
        assert_eq!(count(" , "), 0);
    }

    #[test]
    fn nonsense() {
        assert_eq!(numbers("x"), Err("`x` is no number".into()));
        assert_eq!(count("1,y"), 0);
    }

    #[test]
    fn both_ends_belong_to_a_range() {
        assert_eq!(numbers("1-3,7"), Ok(vec![1, 2, 3, 7]));
    }
}
