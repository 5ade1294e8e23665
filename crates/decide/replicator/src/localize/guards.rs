//! Conditions beside what they guard.
//!
//! A wrong condition is executed by all runs; what shows it is a branch that only failing runs take. So the line
//! that decides about a suspicious block is listed beside the block's first lines. Blocks are found by their
//! indentation, which serves Python, Rust and C alike, and is right wherever a formatter was.

use cohort_model::Suspect;

/// After so many lines of a block its condition is listed.
const LINES_BEFORE: usize = 2;
/// Scores that differ less are equal.
const EQUAL: f64 = 1e-9;
/// What a line that goes on with another branch begins with.
const GOES_ON: [&str; 9] = [
    "}", "else", "elif", "except", "finally", "case", "catch", ")", "]",
];

/// The lines with the conditions that guard them: each behind the first two lines of its block that are listed, and
/// as suspicious, when it is less so by itself. `text` gives the lines of a file.
#[must_use]
pub fn with_guards<'a>(
    lines: Vec<Suspect>,
    mut text: impl FnMut(&str) -> Option<&'a [String]>,
) -> Vec<Suspect> {
    let all = lines.clone();
    let own = |file: &str, line: u32| {
        let known = all.iter().find(|one| one.file == file && one.line == line);
        known.map_or(0.0, |one| one.score)
    };
    let mut listed: Vec<Suspect> = Vec::new();
    // The condition of the block that is being listed, and how many lines of it were.
    let mut open: Option<(Suspect, usize)> = None;
    for line in lines {
        let guard = text(&line.file).and_then(|text| guard(text, line.line));
        let guard = guard.filter(|(number, _)| own(&line.file, *number) < line.score - EQUAL);
        let guard = guard.map(|(number, source)| Suspect {
            line: number,
            source,
            ..line.clone()
        });
        let is_open = |open: &(Suspect, usize)| guard.as_ref() == Some(&open.0);
        if let Some((before, _)) = open.take_if(|open| !is_open(open)) {
            push(&mut listed, before);
        }
        push(&mut listed, line);
        if let Some(guard) = guard {
            let count = open.as_ref().map_or(0, |(_, count)| *count) + 1;
            open = Some((guard, count));
        }
        if let Some((guard, _)) = open.take_if(|(_, count)| *count >= LINES_BEFORE) {
            push(&mut listed, guard);
        }
    }
    listed.extend(open.map(|(guard, _)| guard));
    listed
}

/// Adds what is not there yet.
fn push(listed: &mut Vec<Suspect>, one: Suspect) {
    let same = |other: &Suspect| other.file == one.file && other.line == one.line;
    if !listed.iter().any(same) {
        listed.push(one);
    }
}

/// The line that decides whether the block around `line` runs: its number, and the line itself. None for the body of
/// a function, or where that cannot be told.
fn guard(text: &[String], line: u32) -> Option<(u32, String)> {
    let at = usize::try_from(line.checked_sub(1)?).ok()?;
    let own = indentation(text.get(at)?)?;
    let mut outer = own;
    let mut same = false;
    for place in (0..at).rev() {
        let Some(depth) = indentation(&text[place]) else {
            continue;
        };
        if depth > outer || depth == outer && !same {
            continue;
        }
        let words = text[place].trim_start();
        outer = depth;
        same = GOES_ON.iter().any(|word| words.starts_with(word));
        if !same {
            return decides(words).then(|| (line_of(place), text[place].clone()));
        }
    }
    None
}

fn line_of(place: usize) -> u32 {
    u32::try_from(place + 1).unwrap_or(u32::MAX)
}

/// Columns before the first word; none for a line without words.
fn indentation(line: &str) -> Option<usize> {
    let words = line.trim_start();
    (!words.is_empty()).then(|| line.len() - words.len())
}

/// It holds a condition: of a branch, a loop, or a pattern.
fn decides(words: &str) -> bool {
    let first = [
        "if", "while", "for", "match", "switch", "when", "with", "until",
    ];
    let word = words.split(|c: char| !c.is_alphanumeric()).next();
    let begins = word.is_some_and(|word| first.contains(&word));
    begins || words.contains(" if ") || words.ends_with("=> {")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
fn f(a: u32) -> u32 {
    let b = a + 1;
    if b < 3 {
        first();
        second();
        third();
    } else {
        other();
    }

    while b > 1 {

        again();
    }
    b
}
";

    fn text() -> Vec<String> {
        TEXT.lines().map(String::from).collect()
    }

    fn suspects(of: &[(u32, f64)]) -> Vec<Suspect> {
        let one = |&(line, score): &(u32, f64)| Suspect {
            file: "a.rs".to_owned(),
            line,
            function: "f".to_owned(),
            score,
            source: String::new(),
        };
        of.iter().map(one).collect()
    }

    #[test]
    fn the_condition_of_a_block_is_found() {
        let text = text();
        let found: Vec<Option<u32>> = [2, 5, 8, 13, 15, 1, 99]
            .map(|line| guard(&text, line).map(|(line, _)| line))
            .to_vec();
        assert_eq!(found, [None, Some(3), Some(3), Some(11), None, None, None]);
        let python = "def f(a):\n    if a:\n        return 1\n    else:\n        return 2\n";
        let python: Vec<String> = python.lines().map(String::from).collect();
        assert_eq!(guard(&python, 5).map(|(line, _)| line), Some(2));
        assert_eq!(guard(&python, 2), None);
    }

    #[test]
    fn conditions_stand_behind_the_first_lines_of_their_block() {
        let text = text();
        let order = |of: &[(u32, f64)]| {
            let listed = with_guards(suspects(of), |_| Some(text.as_slice()));
            listed.iter().map(|one| one.line).collect::<Vec<u32>>()
        };
        assert_eq!(
            order(&[(6, 0.9), (5, 0.9), (4, 0.9), (3, 0.5), (2, 0.5)]),
            [6, 5, 3, 4, 2]
        );
        assert_eq!(order(&[(8, 0.9), (13, 0.7), (2, 0.1)]), [8, 3, 13, 11, 2]);
        // As suspicious by itself: it stands where it stood.
        assert_eq!(order(&[(8, 0.9), (2, 0.9), (3, 0.9)]), [8, 2, 3]);
        let unknown = with_guards(suspects(&[(8, 0.9)]), |_| None);
        assert_eq!(unknown.len(), 1);
    }
}
