//! Lines without the sequences that colour them on a terminal (ECMA-48, CSI): some loggers write them
//! into pipes too.

use std::borrow::Cow;

const ESCAPE: char = '\u{1b}';

/// The line as a person would read it.
#[must_use]
pub fn without(line: &str) -> Cow<'_, str> {
    if !line.contains(ESCAPE) {
        return Cow::Borrowed(line);
    }
    let mut plain = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter != ESCAPE {
            plain.push(letter);
            continue;
        }
        let mut rest = letters.clone();
        if rest.next() == Some('[') {
            // Parameters, then one letter that says what they are for.
            let _ = rest.find(|letter| matches!(letter, '@'..='~'));
            letters = rest;
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_go_and_the_rest_stays() {
        let line =
            "\u{1b}[2m12:00\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m \u{1b}[1;38;5;7mshop\u{1b}[m: gone";
        assert_eq!(without(line), "12:00 ERROR shop: gone");
        assert_eq!(without("\u{1b}[3"), "");
        assert_eq!(without("a\u{1b}b"), "ab");
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in ".*", other in "(\u{1b}|\\[|[0-9;m]|x){0,20}") {
            prop_assert!(!without(&line).contains(ESCAPE));
            prop_assert!(!without(&other).contains(ESCAPE));
        }
    }
}
