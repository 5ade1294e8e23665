//! What one iteration with a changed request came to, and what of it is odd.

use cohort_fuzzer::Answer;

use crate::protocol::{Oddity, PlayedAnswers, TransportError};

/// Letters of an answer that tell it from others.
const KIND_CHARS: usize = 40;

/// What one iteration came to.
pub(super) struct Played {
    /// Of the request that was changed.
    pub(super) answer: Option<Answer>,
    /// All that was odd.
    pub(super) odd: Vec<(String, Oddity, String)>,
    pub(super) sent: u64,
}

/// What answers came to.
pub(super) fn played(number: u32, answers: &[PlayedAnswers]) -> Played {
    let mut odd = Vec::new();
    let mut sent = 0;
    let mut own = None;
    for of in answers {
        sent += of.took_us.len() as u64;
        for (status, _) in of.statuses.iter().filter(|(status, _)| *status >= 500) {
            odd.push((
                of.endpoint.clone(),
                Oddity::Status(*status),
                of.said.clone(),
            ));
        }
        for (error, _) in &of.errors {
            // What was not sent tells nothing.
            if *error != TransportError::Refused {
                odd.push((of.endpoint.clone(), Oddity::Broken(*error), String::new()));
            }
        }
        if of.request == Some(number) {
            let status = of.statuses.first().map_or(0, |(status, _)| *status);
            let refused = of
                .errors
                .iter()
                .any(|(error, _)| *error == TransportError::Refused);
            own = (!refused).then(|| Answer {
                status,
                said: of.said.clone(),
                took_us: of.took_us.first().copied().unwrap_or_default(),
                ..Answer::default()
            });
        }
    }
    Played {
        answer: own,
        odd: without_echo(odd),
        sent,
    }
}

/// Once an answer breaks off, so do those to what is sent after it: the first one is told.
fn without_echo(mut odd: Vec<(String, Oddity, String)>) -> Vec<(String, Oddity, String)> {
    let mut broken = 0;
    odd.retain(|(_, oddity, _)| {
        broken += u32::from(matches!(oddity, Oddity::Broken(_)));
        broken <= 1 || !matches!(oddity, Oddity::Broken(_))
    });
    odd
}

/// Whether an answer broke off.
pub(super) fn is_broken(played: &Played) -> bool {
    use TransportError::{Connect, Other, Reset};
    let broke = |oddity: &Oddity| matches!(oddity, Oddity::Broken(Reset | Connect | Other));
    played.odd.iter().any(|(_, oddity, _)| broke(oddity))
}

pub(super) fn timed_out(played: &Played) -> bool {
    let late = |oddity: &Oddity| matches!(oddity, Oddity::Broken(TransportError::Timeout));
    played.odd.iter().any(|(_, oddity, _)| late(oddity))
}

/// What is said, without what varies.
pub(super) fn kind(said: &str) -> String {
    let letters = said.chars().filter(char::is_ascii_alphabetic);
    letters.take(KIND_CHARS).collect()
}
