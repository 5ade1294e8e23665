//! A short text for one bug: for names, files and history.

use std::fmt;

use cohort_model::{Symptom, SymptomKind};

use super::frame::{places, steady};
use super::{Family, family, helpers, normalized};

/// Eight hexadecimal digits. Equal ones are the same bug; symptoms that differ in more than numbers,
/// addresses and the like may be the same bug with different ones: [`same`](super::same) knows more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u32);

impl Fingerprint {
    /// Of a symptom, the same in every version and on every machine.
    #[must_use]
    pub fn of(symptom: &Symptom) -> Self {
        let mut hash = Hash::new();
        let kind = family(symptom.kind);
        hash.add(match kind {
            Family::Raised => "raised",
            Family::Crashed => "crashed",
            Family::Stuck => "stuck",
            Family::Starved => "starved",
            Family::Served => "served",
        });
        let stack = places(symptom, true);
        if !matches!(kind, Family::Stuck | Family::Starved) {
            hash.add(&steady(&symptom.class));
        }
        let counts = match kind {
            Family::Raised if symptom.kind == SymptomKind::Assertion => {
                helpers(&stack).count().max(2)
            }
            // Stacks as a whole count; their inner part tells them apart.
            Family::Crashed => 3,
            _ => 1,
        };
        for place in stack.iter().take(counts) {
            hash.add(&place.file);
            // The function says no more than the line, and is not always told.
            let is_caught = matches!(kind, Family::Stuck | Family::Starved);
            if place.line > 0 && !place.file.is_empty() && !is_caught {
                hash.add(&place.line.to_string());
            } else {
                hash.add(&place.function);
            }
        }
        let said = normalized(&symptom.message);
        let mut words = said.split(|letter: char| !letter.is_alphabetic());
        match kind {
            // What stopped it is chance, and so is what that said.
            Family::Stuck | Family::Starved => {}
            _ if stack.is_empty() => hash.add(&said),
            // Places that anybody reaches (`fail(text)`).
            Family::Raised if symptom.kind == SymptomKind::Exception => {
                hash.add(words.find(|word| !word.is_empty()).unwrap_or_default());
            }
            _ => {}
        }
        Self(hash.folded())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// FNV-1a, 64 bits: small, and the same in every version (Fowler, Noll, Vo;
/// `datatracker.ietf.org/doc/draft-eastlake-fnv`).
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn folded(&self) -> u32 {
        (self.0 ^ (self.0 >> 32)) as u32
    }
}
