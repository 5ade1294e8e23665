//! Failed expectations in the words of test frameworks: gtest, Catch2, doctest, Boost.Test, Unity,
//! Check, cmocka, RSpec, minitest, PHPUnit, bats, Test::More, and what looks like them.
//!
//! ```text
//! cart_test.cc:12: Failure           gtest        cart.cpp:12: FAILED:               Catch2
//! cart.cpp(12): error: in "t": ...   Boost        cart.c:12:test_total:FAIL: ...     Unity
//! ```
//!
//! A place, a word that says it failed, and what follows up to a blank line.

use cohort_model::{Frame, SymptomKind};

use super::{Found, Rank, digits, is_source, leading_place, leading_place_in_brackets};

/// Lines of a message.
const MESSAGE_LINES_MAX: usize = 12;

pub(super) fn read(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    placed(lines, at)
        .or_else(|| cmocka(lines, at))
        .or_else(|| unexpected(lines, at))
        .or_else(|| rspec(lines, at))
        .or_else(|| minitest(lines, at))
        .or_else(|| phpunit(lines, at))
        .or_else(|| remarked(lines, at))
        .or_else(|| should_panic(lines, at))
}

fn found(class: &str, message: &str, frames: Vec<Frame>) -> Found {
    Found::new(Rank::Runner, SymptomKind::Assertion, class, message, frames)
}

/// Lines from `at` up to a blank one or the head of what comes next.
fn following(lines: &[&str], at: usize) -> (String, usize) {
    let texts: Vec<&str> = lines[at.min(lines.len())..]
        .iter()
        .take(MESSAGE_LINES_MAX)
        .map(|line| line.trim())
        .take_while(|text| {
            !text.is_empty()
                && !text.starts_with("[  ")
                && !text.starts_with("-----")
                && !text.starts_with("=====")
                && !text.starts_with("Stack trace:")
        })
        .collect();
    (texts.join("\n"), texts.len())
}

fn placed(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let line = lines[at].trim();
    let (frame, rest) = leading_place(line).or_else(|| leading_place_in_brackets(line))?;
    let said = rest.trim();
    let (class, own_words) = if said == "Failure" || said.starts_with("Failure ") {
        ("gtest", "")
    } else if said == "FAILED:" || said == "FAILED" {
        ("Catch2", "")
    } else if let Some(said) = said
        .strip_prefix("ERROR: ")
        .or_else(|| said.strip_prefix("FATAL ERROR: "))
    {
        ("doctest", said)
    } else if let Some(said) = said
        .strip_prefix("error: in \"")
        .or_else(|| said.strip_prefix("fatal error: in \""))
    {
        (
            "Boost.Test",
            said.split_once("\": ").map_or(said, |(_, said)| said),
        )
    } else if let Some((_, said)) = said.split_once(":FAIL") {
        ("Unity", said.trim_start_matches(':'))
    } else if let Some(said) = said.strip_prefix("F:").or_else(|| said.strip_prefix("E:")) {
        ("Check", said.splitn(4, ':').last().unwrap_or(said))
    } else if let Some(said) = said
        .strip_prefix("error: ")
        .or_else(|| said.strip_prefix("fatal error: "))
    {
        ("error", said)
    } else {
        return None;
    };
    let (more, taken) = match class {
        "gtest" | "Catch2" | "doctest" => following(lines, at + 1),
        _ => (String::new(), 0),
    };
    let message = [own_words, &more].join("\n");
    let mut one = found(class, &message, vec![frame]);
    if class == "error" {
        one.rank = Rank::Word;
        one.symptom.kind = SymptomKind::Failure;
    }
    Some((one, taken + 1))
}

/// `[  ERROR   ] --- 0x1 != 0x2` and `[   LINE   ] --- cart.c:12: error: Failure!`
fn cmocka(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let message = lines[at].strip_prefix("[  ERROR   ] --- ")?;
    let behind = lines.get(at + 1)?.strip_prefix("[   LINE   ] --- ")?;
    let (frame, _) = leading_place(behind)?;
    Some((found("cmocka", message, vec![frame]), 2))
}

/// gtest, of an exception out of a test: `unknown file: Failure`.
fn unexpected(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    if !lines[at].trim().starts_with("unknown file: Failure") {
        return None;
    }
    let (message, taken) = following(lines, at + 1);
    let mut one = found("c++ exception", &message, Vec::new());
    one.symptom.kind = SymptomKind::Exception;
    Some((one, taken + 1))
}

/// `Failure/Error: expect(total).to eq 4`, then what was expected, then `# ./cart_spec.rb:12:in ...`
fn rspec(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let code = lines[at].trim().strip_prefix("Failure/Error: ")?;
    let mut message = vec![code];
    let mut frames = Vec::new();
    let mut end = at + 1;
    for line in lines[at + 1..].iter().take(60) {
        let text = line.trim();
        if let Some(place) = text.strip_prefix("# ") {
            let (file, line) =
                crate::exceptions::location(place.split(":in ").next().unwrap_or(place));
            let function = place.split(":in ").nth(1).unwrap_or_default();
            frames.push(Frame {
                function: function.trim_matches(['`', '\'']).to_owned(),
                own: !file.contains("/gems/"),
                file,
                line,
            });
        } else if !frames.is_empty() {
            break;
        } else if !text.is_empty() && message.len() < MESSAGE_LINES_MAX {
            message.push(text);
        }
        end += 1;
    }
    (!frames.is_empty()).then(|| (found("ruby RSpec", &message.join("\n"), frames), end - at))
}

/// `TestCart#test_total [test/cart_test.rb:12]:` below `1) Failure:`
fn minitest(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    lines[at].trim().strip_suffix(") Failure:")?;
    let head = lines.get(at + 1)?.trim().strip_suffix("]:")?;
    let (name, place) = head.rsplit_once(" [")?;
    let (file, line) = crate::exceptions::location(place);
    let (message, taken) = following(lines, at + 2);
    let frame = Frame {
        function: name.to_owned(),
        file,
        line,
        own: true,
    };
    Some((found("ruby minitest", &message, vec![frame]), taken + 2))
}

/// `Failed asserting that ...` and, behind a blank line, the places.
fn phpunit(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    if !lines[at].starts_with("Failed asserting that") {
        return None;
    }
    let (message, taken) = following(lines, at);
    let frames: Vec<Frame> = lines[at + taken..]
        .iter()
        .take(40)
        .filter_map(|line| leading_place(line.trim()).map(|(frame, _)| frame))
        .map(|frame| Frame {
            own: !frame.file.contains("/vendor/"),
            ..frame
        })
        .take(8)
        .collect();
    (!frames.is_empty()).then(|| (found("php PHPUnit", &message, frames), taken))
}

/// `# (in test file cart.bats, line 12)` and the command; `#   at t/cart.t line 12.` below `Failed test`.
fn remarked(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let text = lines[at].trim().trim_start_matches(['#', ' ', '(']);
    let (class, place, message) = if let Some(place) = text.strip_prefix("in test file ") {
        let code = lines.get(at + 1)?.trim().trim_start_matches(['#', ' ']);
        (
            "bats",
            place.trim_end_matches(')').split_once(", line ")?,
            code,
        )
    } else {
        let name = text.strip_prefix("Failed test")?;
        let below = lines[at + 1..]
            .iter()
            .take(2)
            .find(|line| line.contains("at "))?;
        let place = below.trim_start_matches(['#', ' ']).strip_prefix("at ")?;
        (
            "perl Test::More",
            place.trim_end_matches('.').split_once(" line ")?,
            name,
        )
    };
    let (number, _) = digits(place.1)?;
    let known = is_source(place.0) || place.0.ends_with(".t");
    let frame = Frame {
        function: String::new(),
        file: place.0.to_owned(),
        line: number,
        own: true,
    };
    known.then(|| (found(class, message, vec![frame]), 2))
}

/// libtest: `note: test did not panic as expected at src/cart.rs:12:4`
fn should_panic(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let text = lines[at].trim();
    let text = text.strip_prefix("note: ").unwrap_or(text);
    if !text.starts_with("test did not panic as expected")
        && !text.starts_with("panic did not contain expected string")
    {
        return None;
    }
    let place = text
        .rsplit_once(" at ")
        .and_then(|(_, place)| leading_place(place));
    let frames = place.map(|(frame, _)| frame).into_iter().collect();
    let (more, taken) = following(lines, at + 1);
    let (words, _) = text.split_once(" at ").unwrap_or((text, ""));
    let message = [words, &more].join("\n");
    Some((found("rust should_panic", &message, frames), taken + 1))
}
