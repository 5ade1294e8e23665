//! pytest's own reports, in its long and its short form; of a chain the last exception counts.
//!
//! ```text
//!     def test_total(cart):
//! >       assert total(cart) == 4
//! E       assert 3 == 4
//! E        +  where 3 = total([1, 2])
//!
//! tests/test_cart.py:5: AssertionError
//! ```
//! ```text
//! tests/test_cart.py:5: in test_total
//!     assert total(cart) == 4
//! E   assert 3 == 4
//! ```
//!
//! Entries of outer calls stand above, each with its place.

use cohort_model::{Frame, Symptom, SymptomKind};

use super::{Found, Rank, digits, leading_place};
use crate::exceptions::python::is_own;

/// Lines of a message that are kept.
const MESSAGE_LINES_MAX: usize = 12;
/// Lines above that belong to one exception, at most.
const ABOVE_MAX: usize = 4000;
/// Lines between what was said and its place, at most: local variables.
const BELOW_MAX: usize = 200;
/// Between two exceptions of a chain.
const LINKS: [&str; 2] = [
    "During handling of the above exception",
    "The above exception was the direct cause",
];

/// What is left of a failure with `--tb=line` or `--tb=no`: one line with a place, and the line of the
/// summary.
pub(crate) fn of_summary(report: &str, message: &str) -> Option<Symptom> {
    let placed = report.lines().find_map(|line| {
        let (frame, rest) = leading_place(line)?;
        Some((frame, rest.trim()))
    });
    let said = placed.as_ref().map_or(message.trim(), |(_, rest)| rest);
    if said.is_empty() {
        return None;
    }
    let (class, text) = match named(said) {
        Some((class, text)) => (class.rsplit('.').next().unwrap_or(class), text),
        None if said.starts_with("assert ") => ("AssertionError", said),
        None => return None,
    };
    let class = format!("python {class}");
    Some(Symptom {
        kind: crate::kind_of(&class, text),
        class,
        message: text.to_owned(),
        frames: placed.into_iter().map(|(frame, _)| frame).collect(),
    })
}

/// One exception of a report.
struct One {
    class: String,
    message: String,
    frames: Vec<Frame>,
    /// The first line behind it.
    end: usize,
}

pub(super) fn read(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    if let Some(found) = doctest(lines, at) {
        return Some((found, 1));
    }
    let mut one = exception(lines, at)?;
    while let Some(next) = linked(lines, one.end) {
        one = next;
    }
    let taken = one.end - at;
    let (kind, class) = match one.class.as_str() {
        "" => (SymptomKind::Failure, "pytest error".to_owned()),
        class => {
            let short = class.rsplit('.').next().unwrap_or(class);
            let class = format!("python {short}");
            timed_out(&class, &one.message).unwrap_or((crate::kind_of(&class, &one.message), class))
        }
    };
    let found = Found::new(Rank::Runner, kind, &class, &one.message, one.frames);
    Some((found, taken))
}

/// What pytest-timeout raises is a time limit, not an expectation.
pub(super) fn timed_out(class: &str, message: &str) -> Option<(SymptomKind, String)> {
    let is_limit = class == "python Failed" && message.starts_with("Timeout (>");
    is_limit.then(|| (SymptomKind::Timeout, "python Timeout".to_owned()))
}

/// The next exception of the chain, when one is announced behind `from`.
fn linked(lines: &[&str], from: usize) -> Option<One> {
    let link = (from..lines.len().min(from + 4))
        .find(|at| LINKS.iter().any(|link| lines[*at].starts_with(link)))?;
    let next = (link..lines.len().min(link + ABOVE_MAX)).find(|at| said(lines[*at]).is_some())?;
    exception(lines, next)
}

/// What a line of `E` says.
fn said(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('E')?;
    (rest.is_empty() || rest.starts_with("   ")).then_some(rest)
}

fn exception(lines: &[&str], at: usize) -> Option<One> {
    said(lines[at]).filter(|text| !text.is_empty())?;
    let texts: Vec<&str> = lines[at..].iter().map_while(|line| said(line)).collect();
    let indent = texts[0].len() - texts[0].trim_start().len();
    let text = |line: &&str| line.get(indent..).unwrap_or(line.trim()).to_owned();
    let mut message: Vec<String> = texts.iter().take(MESSAGE_LINES_MAX).map(text).collect();
    let mut end = at + texts.len();
    let mut frames = above(lines, at);
    let mut class = String::new();
    if let Some((behind, mut frame, name)) = place_behind(lines, end) {
        frame.function = function_above(lines, at);
        name.clone_into(&mut class);
        frames.insert(0, frame);
        end = behind + 1;
    }
    let first = message[0].clone();
    if let Some((name, rest)) = named(&first) {
        if class.is_empty() || name.rsplit('.').next() == class.rsplit('.').next() {
            name.clone_into(&mut class);
            rest.clone_into(&mut message[0]);
        }
    } else if class.is_empty() && first.starts_with("assert ") {
        "AssertionError".clone_into(&mut class);
    }
    Some(One {
        class,
        message: message.join("\n"),
        frames,
        end,
    })
}

/// The place below what was said, in the long form: where it stands, and the class behind it. Local
/// variables may stand between.
fn place_behind<'l>(lines: &[&'l str], from: usize) -> Option<(usize, Frame, &'l str)> {
    for (at, line) in lines.iter().enumerate().skip(from).take(BELOW_MAX) {
        let is_next = is_boundary(line) || line.starts_with("_ _ _") || line.starts_with("---");
        if is_next || said(line).is_some() {
            return None;
        }
        match place(line) {
            Some((_, name)) if name.starts_with("in ") => return None,
            Some((frame, name)) => return Some((at, frame, name)),
            None => {}
        }
    }
    None
}

/// `ValueError: message` or `shop.errors.Empty`
fn named(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text
        .split_once(": ")
        .unwrap_or((text.trim_end_matches(':'), ""));
    let is_name = name.split('.').all(|part| {
        part.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
            && part.chars().all(|it| it.is_alphanumeric() || it == '_')
    });
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_class = is_name && last.starts_with(|it: char| it.is_uppercase() || it == '_');
    is_class.then_some((name, rest))
}

/// `tests/test_cart.py:5: AssertionError`, `...:5: in test_total` or `...:5: `
fn place(line: &str) -> Option<(Frame, &str)> {
    if line.starts_with([' ', '\t', 'E', '>']) && !line.starts_with("E:") {
        return None;
    }
    let colon = line.match_indices(':').find_map(|(colon, _)| {
        let (number, rest) = digits(&line[colon + 1..])?;
        Some((colon, number, rest.strip_prefix(':')?))
    });
    let (colon, number, rest) = colon?;
    let file = &line[..colon];
    let rest = rest.trim();
    let is_word = rest.starts_with("in ") || !rest.contains(' ');
    let is_file = !file.is_empty() && (file.contains('.') || file.starts_with('<'));
    if !is_word || !is_file || number == 0 {
        return None;
    }
    let frame = Frame {
        function: rest.strip_prefix("in ").unwrap_or_default().to_owned(),
        file: file.to_owned(),
        line: number,
        own: is_own(file),
    };
    Some((frame, rest))
}

fn is_boundary(line: &str) -> bool {
    let is_head = |mark: &str| line.starts_with(mark) && line.trim_end().ends_with(mark);
    is_head("____") || is_head("====") || LINKS.iter().any(|link| line.starts_with(link))
}

/// The calls above, innermost first.
fn above(lines: &[&str], at: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    for above in (at.saturating_sub(ABOVE_MAX)..at).rev() {
        let line = lines[above];
        if is_boundary(line) || said(line).is_some() {
            break;
        }
        if let Some((mut frame, _)) = place(line) {
            if frame.function.is_empty() {
                frame.function = function_above(lines, above);
            }
            frames.push(frame);
        }
    }
    frames.truncate(crate::FRAMES_MAX * 2);
    frames
}

/// The function whose source stands above: the first `def` behind the entry before.
fn function_above(lines: &[&str], at: usize) -> String {
    let mut name = String::new();
    for above in (at.saturating_sub(ABOVE_MAX)..at).rev() {
        let line = lines[above];
        if is_boundary(line) || line.starts_with("_ _ _") || place(line).is_some() {
            break;
        }
        let code = line.trim_start_matches(['>', ' ', '\t']);
        let code = code.strip_prefix("async ").unwrap_or(code);
        if let Some(rest) = code.strip_prefix("def ")
            && let Some((function, _)) = rest.split_once('(')
        {
            function.trim().clone_into(&mut name);
        }
    }
    name
}

/// `/project/cart.py:5: DocTestFailure`, what was expected above.
fn doctest(lines: &[&str], at: usize) -> Option<Found> {
    let (frame, "DocTestFailure") = place(lines[at])? else {
        return None;
    };
    let above = &lines[at.saturating_sub(40)..at];
    let from = above.iter().rposition(|line| line.starts_with("Expected"));
    let message: Vec<&str> = above[from.unwrap_or(above.len())..]
        .iter()
        .map(|line| line.trim())
        .collect();
    let kind = SymptomKind::Assertion;
    Some(Found::new(
        Rank::Runner,
        kind,
        "python DocTestFailure",
        &message.join("\n"),
        vec![frame],
    ))
}
