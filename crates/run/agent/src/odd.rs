//! What goes odd is told at once, so that it can be tried again at once. Where there is much of the same it is told now and then:
//! the windows have all of it.

use std::collections::BTreeMap;

use cohort_model::At;

use crate::agent::Agent;
use crate::protocol::{FromAgent, OddCall, Oddity};

/// Of each kind so many are told one after the other ...
const AT_ONCE: u32 = 5;
/// ... where there was no answer, each may be why the server ended: as many as one case may be about ...
const AT_ONCE_BROKEN: u32 = 64;
/// ... and then one in so many microseconds.
const THEN_EVERY_US: u64 = 1_000_000;
/// Kinds that are told apart.
const KINDS_MAX: usize = 500;
/// What is kept of an answer, bytes.
const SAID_BYTES_MAX: usize = 512;

/// What was told.
#[derive(Debug, Default)]
pub(crate) struct OddBook {
    told: BTreeMap<(String, Oddity), (u32, At)>,
}

impl OddBook {
    /// Whether it is to be told, which it then is.
    fn is_due(&mut self, endpoint: &str, oddity: &Oddity, now: At) -> bool {
        let key = (endpoint.to_owned(), oddity.clone());
        let room = self.told.len() < KINDS_MAX;
        let at_once = match oddity {
            Oddity::Broken(_) => AT_ONCE_BROKEN,
            Oddity::Status(_) | Oddity::Check(_) => AT_ONCE,
        };
        match self.told.get_mut(&key) {
            Some((told, last)) if *told < at_once || now.since(*last) >= THEN_EVERY_US => {
                *told += 1;
                *last = now;
                true
            }
            Some(_) => false,
            None if room => {
                self.told.insert(key, (1, now));
                true
            }
            None => false,
        }
    }
}

impl Agent {
    /// Tells it, unless there is too much of the same.
    pub(crate) fn tell_odd(&self, call: impl FnOnce() -> OddCall) {
        if !self.cases {
            return;
        }
        let call = call();
        let due = self
            .odd
            .borrow_mut()
            .is_due(&call.endpoint, &call.oddity, call.at);
        if due {
            self.post(FromAgent::Odd(Box::new(call)));
        }
    }
}

/// The beginning of a text, for a person.
pub(crate) fn beginning(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SAID_BYTES_MAX)];
    String::from_utf8_lossy(cut).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_of_the_same_is_told_now_and_then_and_other_things_at_once() {
        let mut book = OddBook::default();
        let mut due = |endpoint: &str, at_ms: u64| {
            book.is_due(endpoint, &Oddity::Status(500), At(at_ms * 1_000))
        };
        let told = (0..5_000).filter(|at_ms| due("GET /a", *at_ms)).count();
        assert_eq!(told, 5 + 4);
        assert!(due("GET /b", 5_000));
    }
}
