//! Words of a command line.

pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut begun = false;
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        match (quote, sign) {
            (Some(open), sign) if sign == open => quote = None,
            (_, '\\') => {
                word.push('\\'); // MISTAKE
                if let Some(next) = signs.next() {
                    word.push(next);
                }
                begun = true;
            }
            (Some(_), sign) => word.push(sign),
            (None, '"' | '\'') => {
                quote = Some(sign);
                begun = true;
            }
            (None, ' ') => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (None, sign) => {
                word.push(sign);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none() {
        assert!(words("  ").is_empty());
    }

    #[test]
    fn two() {
        assert_eq!(words("ls  -l"), ["ls", "-l"]);
    }

    #[test]
    fn quoted() {
        assert_eq!(words("a 'b c'"), ["a", "b c"]);
    }

    #[test]
    fn empty_word() {
        assert_eq!(words("a \"\""), ["a", ""]);
    }

    #[test]
    fn escaped() {
        assert_eq!(words("a\\ b c"), ["a b", "c"]);
    }
}
