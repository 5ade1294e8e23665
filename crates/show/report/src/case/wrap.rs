//! Text in lines of a width.

use crate::words;

/// `text` in lines of at most `columns`, broken between words where that can be. Its indent stays.
#[must_use]
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let bare = text.trim_start_matches(' ');
    let mut line = " ".repeat((text.len() - bare.len()).min(columns / 2));
    for word in bare.split(' ') {
        let gap = usize::from(!line.trim_start().is_empty());
        if words::width(&line) + gap + words::width(word) <= columns {
            line.push_str(&" ".repeat(gap));
            line.push_str(word);
            continue;
        }
        if !line.trim_start().is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        line = broken(word, columns, &mut lines);
    }
    if !line.trim_start().is_empty() {
        lines.push(line);
    }
    lines
}

/// Puts a word that is wider than a line into lines of its own; the rest of it is returned.
fn broken(word: &str, columns: usize, lines: &mut Vec<String>) -> String {
    let mut line = String::new();
    let mut used = 0;
    for c in word.chars() {
        let wide = words::width(c.encode_utf8(&mut [0; 4]));
        if used + wide > columns && !line.is_empty() {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        line.push(c);
        used += wide;
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_stay_whole_where_they_can() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(
            wrap("a::very_long_name fails", 8),
            ["a::very_", "long_nam", "e fails"]
        );
        assert_eq!(wrap("  left: 1 right: 2", 9), ["  left: 1", "right: 2"]);
        assert_eq!(wrap("", 8), [""; 0]);
    }

    proptest! {
        #[test]
        fn lines_fit_and_nothing_is_lost(text in "[a-z é測 ]{0,60}", columns in 2_usize..30) {
            let lines = wrap(&text, columns);
            prop_assert!(lines.iter().all(|line| words::width(line) <= columns));
            let bare = |text: &str| text.replace(' ', "");
            prop_assert_eq!(bare(&lines.concat()), bare(&text));
        }
    }
}
