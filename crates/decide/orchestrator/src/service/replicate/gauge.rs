//! How a play of a case is made, and by what it is told whether that shows it.

use std::collections::BTreeSet;

use cohort_model::{CaseRequest, Grown, Played, Symptom, SymptomKind};

/// So often requests are repeated where it is looked whether calls get slower.
const ROUNDS: u32 = 40;
/// So often where a call was slow that might have been late by chance, since it took less than this, microseconds.
const ROUNDS_SLOW: u32 = 3;
const LONG_US: u64 = 300_000;
/// So often where a server may hang.
const ROUNDS_HANGS: u32 = 60;
/// And where it is measured what grows.
const ROUNDS_GROWS: u32 = 240;
/// Where something is to grow, so many of these repetitions go on at once: most of the time is waiting.
const TOGETHER: u32 = 4;
/// Recorded times longer than this are not kept, microseconds.
const IN_TIME_US_MAX: u64 = 10_000_000;
/// A call that takes so many times what it took in the first rounds got slower.
const SLOWER_TIMES: f64 = 1.5;
/// What grows by at least so much with each repetition grows: bytes.
const MEMORY_A_ROUND: f64 = 2_048.0;
/// And in all: less may be the allocator's.
const MEMORY_MIN: f64 = 200_000.0;
/// Descriptors or threads.
const COUNT_A_ROUND: f64 = 0.25;
const COUNT_MIN: f64 = 4.0;
/// Of what is left of a case, each repetition grows by at least so small a part of what it did as it was.
const LESS: f64 = 4.0;

/// How long an answer is waited for, microseconds.
const PATIENCE_US: u64 = 8_000_000;
/// The same where a server hangs: so many times as long as the longest that is usual, and at least so long.
const PATIENCE_TIMES: u64 = 50;
const PATIENCE_US_MIN: u64 = 3_000_000;

/// How it is judged whether a play shows the case.
#[derive(Clone, Debug, PartialEq)]
pub enum Gauge {
    /// By what went odd.
    Odd,
    /// The same, of a server that hangs: mostly by chance, so that requests are repeated until it does.
    Hangs,
    /// A call of the endpoint takes at least so long, microseconds.
    Slow(u64),
    /// Calls of the endpoint get slower as the requests are repeated.
    Slower,
    /// The instance grows as the requests are repeated.
    Grows(What),
}

/// What an instance can grow in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Bytes.
    Memory,
    /// Open descriptors.
    Descriptors,
    /// Threads.
    Threads,
}

impl What {
    /// As symptoms name it.
    fn of_class(class: &str) -> Option<What> {
        match class {
            "memory" => Some(What::Memory),
            "descriptors" => Some(What::Descriptors),
            "threads" => Some(What::Threads),
            _ => None,
        }
    }
}

impl Gauge {
    /// Of a case that was kept; `bound_us`: from how long on a call of it is slow, microseconds, 0 where that is not what tells.
    /// None: it grows in what is not known here.
    #[must_use]
    pub fn of_kept(symptom: &Symptom, bound_us: u64) -> Option<Gauge> {
        Some(match symptom.kind {
            SymptomKind::Leak => Gauge::Grows(What::of_class(&symptom.class)?),
            SymptomKind::Slow if bound_us > 0 => Gauge::Slow(bound_us),
            SymptomKind::Slow => Gauge::Slower,
            SymptomKind::Hang => Gauge::Hangs,
            _ => Gauge::Odd,
        })
    }

    /// From how long on a call is slow, microseconds; 0 where that is not what tells.
    pub(super) fn bound_us(&self) -> u64 {
        match self {
            Gauge::Slow(bound_us) => *bound_us,
            _ => 0,
        }
    }

    /// How many are played at once for it, and how often each is repeated.
    #[must_use]
    pub fn rounds(&self) -> (u32, u32) {
        match self {
            Gauge::Grows(_) => (TOGETHER, ROUNDS_GROWS / TOGETHER),
            Gauge::Slower => (1, ROUNDS),
            Gauge::Hangs => (1, ROUNDS_HANGS),
            Gauge::Slow(bound_us) if *bound_us < LONG_US => (1, ROUNDS_SLOW),
            Gauge::Odd | Gauge::Slow(_) => (1, 1),
        }
    }

    /// Whether it is over with the first call that is waited for in vain.
    #[must_use]
    pub fn hangs(&self) -> bool {
        matches!(self, Gauge::Hangs)
    }

    /// How long an answer is waited for in a play, microseconds: of what hangs, what is far beyond the longest that is usual
    /// (`usual_us`), where that is known.
    #[must_use]
    pub fn patience_us(&self, usual_us: Option<u64>) -> u64 {
        match usual_us.filter(|_| self.hangs()) {
            Some(us) => us
                .saturating_mul(PATIENCE_TIMES)
                .clamp(PATIENCE_US_MIN, PATIENCE_US),
            None => PATIENCE_US,
        }
    }

    /// Whether it is about what an instance grows in.
    #[must_use]
    pub fn grows(&self) -> bool {
        matches!(self, Gauge::Grows(_))
    }

    /// Whether these are sent when they were sent as they were recorded: where threads met, it may matter when.
    #[must_use]
    pub fn in_time<'r>(&self, requests: impl Iterator<Item = &'r CaseRequest> + Clone) -> bool {
        let threads: BTreeSet<_> = requests.clone().map(|request| request.thread).collect();
        let span = requests.map(|request| request.after_us).max();
        threads.len() > 1
            && matches!(self, Gauge::Odd | Gauge::Slow(_))
            && span.unwrap_or(0) <= IN_TIME_US_MAX
    }

    /// Whether calls took as long as the case has it; `is_its`: whether a request is one that it is about.
    #[must_use]
    pub fn took_long(&self, played: &Played, is_its: impl Fn(u32) -> bool) -> bool {
        match self {
            Gauge::Slow(bound_us) => {
                // Where it is repeated, it is so most of the time: anything is late for once.
                let mut took = played.took.iter();
                took.any(|(number, median_us, _)| is_its(*number) && median_us >= bound_us)
            }
            Gauge::Slower => {
                let mut slower = played.slower.iter();
                slower.any(|(number, times)| is_its(*number) && *times >= SLOWER_TIMES)
            }
            Gauge::Odd | Gauge::Hangs | Gauge::Grows(_) => false,
        }
    }
}

impl What {
    /// How much it grew in this, and how much is growth at the least: with each repetition, and in all.
    pub(super) fn level(self, grown: &Grown) -> (f64, f64, f64) {
        match self {
            What::Memory => (grown.memory as f64, MEMORY_A_ROUND, MEMORY_MIN),
            What::Descriptors => (grown.descriptors as f64, COUNT_A_ROUND, COUNT_MIN),
            What::Threads => (grown.threads as f64, COUNT_A_ROUND, COUNT_MIN),
        }
    }

    /// Whether it grew with each repetition: by this alone it is told where nothing else is known (`usual`: 0).
    #[must_use]
    pub fn grew(self, grown: &Grown, usual: f64) -> bool {
        let (by, each, all) = self.level(grown);
        let rounds = f64::from(grown.rounds.max(1));
        // What is known to grow is told from less by that alone.
        let all = if usual > 0.0 {
            all.min(usual * rounds / 2.0)
        } else {
            all
        };
        by >= all && by / rounds >= each.max(usual / LESS)
    }
}
