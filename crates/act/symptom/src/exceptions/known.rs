//! Exceptions of one instance, by fingerprint, in bounded memory.

use std::collections::BTreeMap;

use cohort_model::{ExceptionSeen, InstanceId};

use super::{Frame, Raised, fingerprint};

/// Kinds that are told apart ...
const KINDS_MAX: usize = 256;
/// ... and, of lines with nothing but a level, which vary more.
const PLAIN_KINDS_MAX: usize = 64;
/// Frames that are kept of each kind.
const FRAMES_MAX: usize = 8;
/// Fingerprint of all that are beyond.
const OTHERS: &str = "others";

/// One kind of exception on one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Equal for the same bug.
    pub fingerprint: String,
    /// The first of them; its frames are the program's own first.
    pub first: Raised,
    /// How many.
    pub count: u64,
}

/// All kinds so far.
#[derive(Debug, Default)]
pub struct Known {
    kinds: BTreeMap<String, Kind>,
    plain: usize,
}

#[derive(Debug)]
struct Kind {
    first: Raised,
    count: u64,
    reported: u64,
}

impl Known {
    /// Counts what was recognized.
    pub fn extend(&mut self, raised: impl IntoIterator<Item = Raised>) {
        for one in raised {
            self.add(one);
        }
    }

    fn add(&mut self, raised: Raised) {
        let mut key = fingerprint(&raised);
        let mut raised = raised;
        if !self.kinds.contains_key(&key) {
            let full = self.kinds.len() >= KINDS_MAX
                || (raised.plain_line && self.plain >= PLAIN_KINDS_MAX);
            if full {
                OTHERS.clone_into(&mut key);
                raised.kind = "other exceptions".to_owned();
                raised.frames.clear();
            } else if raised.plain_line {
                self.plain += 1;
            }
        }
        let kind = self.kinds.entry(key).or_insert_with(|| Kind {
            first: own_first(raised),
            count: 0,
            reported: 0,
        });
        kind.count += 1;
    }

    /// Those of which there are new ones since the last call.
    pub fn take_new(&mut self, instance: InstanceId) -> Vec<ExceptionSeen> {
        let mut seen = Vec::new();
        for (fingerprint, kind) in &mut self.kinds {
            if kind.count == kind.reported {
                continue;
            }
            seen.push(ExceptionSeen {
                instance,
                fingerprint: fingerprint.clone(),
                kind: kind.first.kind.clone(),
                message: kind.first.message.clone(),
                frame: kind
                    .first
                    .frames
                    .first()
                    .map(Frame::shown)
                    .unwrap_or_default(),
                plain_line: kind.first.plain_line,
                count: kind.count - kind.reported,
            });
            kind.reported = kind.count;
        }
        seen
    }

    /// All, the most frequent first.
    #[must_use]
    pub fn all(&self) -> Vec<Summary> {
        let mut all: Vec<Summary> = self
            .kinds
            .iter()
            .map(|(fingerprint, kind)| Summary {
                fingerprint: fingerprint.clone(),
                first: kind.first.clone(),
                count: kind.count,
            })
            .collect();
        all.sort_by_key(|kind| std::cmp::Reverse(kind.count));
        all
    }
}

fn own_first(mut raised: Raised) -> Raised {
    raised.frames.sort_by_key(|frame| !frame.own);
    raised.frames.truncate(FRAMES_MAX);
    raised
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: String) -> Raised {
        Raised {
            kind: "error line".to_owned(),
            message,
            plain_line: true,
            ..Raised::default()
        }
    }

    #[test]
    fn a_flood_of_kinds_is_bounded_and_counted() {
        let mut known = Known::default();
        let word = |number: u32| {
            number
                .to_string()
                .replace(|it: char| it.is_ascii_digit(), "x")
                + &"y".repeat(number as usize % 100)
                + &"z".repeat(number as usize / 100)
        };
        known.extend((0..1000).map(|number| line(word(number))));
        assert!(known.kinds.len() <= PLAIN_KINDS_MAX + 1);
        assert_eq!(known.all().iter().map(|kind| kind.count).sum::<u64>(), 1000);
        assert_eq!(known.all()[0].fingerprint, OTHERS);
        let reported: u64 = known
            .take_new(InstanceId(0))
            .iter()
            .map(|seen| seen.count)
            .sum();
        assert_eq!(reported, 1000);
        assert_eq!(known.take_new(InstanceId(0)), []);
        known.extend([line(word(1))]);
        assert_eq!(known.take_new(InstanceId(0))[0].count, 1);
    }
}
