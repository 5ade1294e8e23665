//! "Is this the same bug?": what [`same`], [`Fingerprint`] and [`Groups`] answer.
//!
//! ```text
//! kind, class    timeouts, stalls: a kind of their own whatever killed it; else both have to agree
//! place          the innermost place of the code under test: function, file without its directories, line
//!   crashes      where the stack as a whole is alike (position-weighted), since the fault itself moves
//!   assertions   of test code: with the places that called it, as helpers fail for many reasons
//!   timeouts     by functions only: where a loop is caught is chance
//! message        only where there is no place, or the place alone could be anybody's (`fail(text)`):
//!                without numbers, addresses, times, quoted values and directories
//! ```
//!
//! Promise: whatever the two have in numbers, addresses, temporary directories, ports or seeds does not
//! matter; the answer is the same both ways round.

mod fingerprint;
mod frame;
mod groups;
mod message;
mod stack;

use cohort_model::{Symptom, SymptomKind};

pub use fingerprint::Fingerprint;
use frame::{Place, places};
pub use groups::Groups;
pub use message::normalized;
use stack::similarity;

/// Similarity of two stacks from which on they are of the same bug: CASR's clusters are at most 0.3 wide.
const SIMILAR: f64 = 0.7;
/// Share of words that two messages have in common when they say the same thing.
const ALIKE: f64 = 0.5;
/// ... and when they could, at the same place.
const AKIN: f64 = 0.2;

/// What the comparison of two kinds rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    /// Reported failures, assertions, exceptions.
    Raised,
    /// The process itself came to an end.
    Crashed,
    /// It did not end.
    Stuck,
    /// It needed too much.
    Starved,
    /// What a server did.
    Served,
}

fn family(kind: SymptomKind) -> Family {
    match kind {
        SymptomKind::Failure | SymptomKind::Assertion | SymptomKind::Exception => Family::Raised,
        SymptomKind::Signal | SymptomKind::Abort | SymptomKind::Sanitizer => Family::Crashed,
        SymptomKind::Timeout | SymptomKind::Hang => Family::Stuck,
        SymptomKind::OutOfMemory | SymptomKind::Leak => Family::Starved,
        SymptomKind::ErrorAnswer | SymptomKind::WrongAnswer | SymptomKind::Slow => Family::Served,
    }
}

/// Whether both are of the same bug. Meant for symptoms of one subject and one build: lines count.
#[must_use]
pub fn same(one: &Symptom, other: &Symptom) -> bool {
    is_same(one, other, true)
}

/// Whether both are of the same bug though the code may have changed between them, as for a case that an
/// earlier campaign closed: lines do not count, what was said does.
#[must_use]
pub fn same_though_edited(one: &Symptom, other: &Symptom) -> bool {
    same(one, other)
        || (is_same(one, other, false) && normalized(&one.message) == normalized(&other.message))
}

fn is_same(one: &Symptom, other: &Symptom, lines: bool) -> bool {
    let kind = family(one.kind);
    if kind != family(other.kind) {
        return false;
    }
    let (stack, other_stack) = (places(one, lines), places(other, lines));
    match kind {
        // The class tells who stopped it, which is chance.
        Family::Stuck => stuck_alike(&stack, &other_stack),
        Family::Starved if one.kind == other.kind => starved_alike(&stack, &other_stack),
        Family::Starved => false,
        Family::Served => {
            one.kind == other.kind && one.class == other.class && said_the_same(one, other)
        }
        _ if frame::steady(&one.class) != frame::steady(&other.class) => false,
        Family::Raised if one.kind != other.kind => false,
        Family::Crashed if !stack.is_empty() && !other_stack.is_empty() => {
            crashed_alike(&stack, &other_stack)
        }
        Family::Raised if !stack.is_empty() && !other_stack.is_empty() => {
            raised_alike((one, &stack), (other, &other_stack))
        }
        _ => said_the_same(one, other),
    }
}

/// Without a place, what was said is all there is.
fn said_the_same(one: &Symptom, other: &Symptom) -> bool {
    let (a, b) = (normalized(&one.message), normalized(&other.message));
    // A program's last line is not always about its end.
    a == b || (one.kind == SymptomKind::Failure && message::common_words(&a, &b) >= ALIKE)
}

fn crashed_alike(one: &[Place], other: &[Place]) -> bool {
    let innermost_in = |stack: &[Place], place: &Place| {
        let near = stack.iter().take(2);
        near.into_iter().any(|near| near.is_of(place))
    };
    let near = innermost_in(other, &one[0]) || innermost_in(one, &other[0]);
    near && similarity(one, other) >= SIMILAR
}

fn stuck_alike(one: &[Place], other: &[Place]) -> bool {
    if one.is_empty() || other.is_empty() {
        return true;
    }
    let within = |stack: &[Place], place: &Place| stack.iter().any(|other| other.is_of(place));
    within(other, &one[0]) || within(one, &other[0])
}

/// Which allocation is the one too many is chance, unless both are told and have nothing in common.
fn starved_alike(one: &[Place], other: &[Place]) -> bool {
    one.is_empty()
        || other.is_empty()
        || one
            .iter()
            .any(|place| other.iter().any(|other| other.is_of(place)))
}

fn raised_alike(one: (&Symptom, &[Place]), other: (&Symptom, &[Place])) -> bool {
    let (symptom, stack) = one;
    let (other_symptom, other_stack) = other;
    if stack[0] != other_stack[0] {
        return false;
    }
    if symptom.kind == SymptomKind::Assertion && (stack[0].is_test || other_stack[0].is_test) {
        // A panic without a backtrace tells its place only.
        let is_place = stack[0].function.is_empty() || other_stack[0].function.is_empty();
        return is_place || helpers(stack).eq(helpers(other_stack));
    }
    if symptom.kind == SymptomKind::Assertion && called_elsewhere(stack, other_stack) {
        return false;
    }
    let (a, b) = (
        normalized(&symptom.message),
        normalized(&other_symptom.message),
    );
    let common = message::common_words(&a, &b);
    if a == b || common >= ALIKE {
        return true;
    }
    // What was said differs: the callers decide, or, where none is known, a little of it in common does.
    let callers = stack.len().min(other_stack.len()) > 1;
    match callers {
        true => similarity(stack, other_stack) >= SIMILAR,
        false => common >= AKIN,
    }
}

/// One function called what failed at two of its lines: a check for two things.
fn called_elsewhere(one: &[Place], other: &[Place]) -> bool {
    match (one.get(1), other.get(1)) {
        (Some(caller), Some(other)) => caller.is_of(other) && caller.line != other.line,
        _ => false,
    }
}

/// The places of test code that an assertion was reached by, innermost first.
fn helpers(stack: &[Place]) -> impl Iterator<Item = &Place> {
    stack.iter().take_while(|place| place.is_test)
}

#[cfg(test)]
mod tests;
