//! Whether two symptoms are of the same bug. The one place where that is asked.

use cohort_model::Symptom;

/// Whether both are of the same bug: same kind, class, and innermost frame of the code under test (or
/// the message, digits left out, when there is none).
pub(crate) fn same(one: &Symptom, other: &Symptom) -> bool {
    if one.kind != other.kind || one.class != other.class {
        return false;
    }
    let place = |symptom: &Symptom| {
        symptom
            .frames
            .iter()
            .find(|frame| frame.own)
            .or(symptom.frames.first())
            .map(|frame| (frame.function.clone(), frame.file.clone()))
    };
    match (place(one), place(other)) {
        (Some(a), Some(b)) => a == b,
        _ => words(&one.message) == words(&other.message),
    }
}

/// The message without its numbers.
fn words(message: &str) -> String {
    message.chars().filter(|c| !c.is_ascii_digit()).collect()
}
