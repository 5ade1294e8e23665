//! What is likely to matter, before anything was tried: one table.
//!
//! A weight is the failure rate that is expected of a run under such a condition when nothing else is
//! known; clues multiply it. The first rows hold for every case. A clue only decides what is tried first: what
//! it speaks against is tried too, later.

use cohort_model::{ConditionKind, Symptom, SymptomKind, Usage};

use ConditionKind as Kind;

/// Weight of each kind without any clue.
const PLAIN: [(Kind, f64); 18] = [
    (Kind::Schedule, 0.2),
    (Kind::CpuLimit, 0.08),
    (Kind::Copies, 0.08),
    (Kind::Noise, 0.05),
    (Kind::Cpus, 0.03),
    (Kind::Seed, 0.05),
    (Kind::DirectoryOrder, 0.04),
    (Kind::TimeZone, 0.04),
    (Kind::Clock, 0.04),
    (Kind::DiskDelay, 0.04),
    (Kind::NetworkDelay, 0.04),
    (Kind::OpenFiles, 0.02),
    (Kind::MemoryLimit, 0.02),
    (Kind::Locale, 0.02),
    (Kind::DiskRate, 0.01),
    (Kind::NetworkRate, 0.01),
    (Kind::NetworkLoss, 0.02),
    (Kind::Variable, 0.01),
];

/// Kinds, and how many times as likely they are to matter.
type Effects = &'static [(Kind, f64)];

/// What a message or a class of exception has in it (small letters), and what is then that many times as
/// likely.
const WORDS: [(&[&str], Effects); 14] = [
    (
        &[
            "timeout",
            "timed out",
            "deadline",
            "too slow",
            "took too long",
            "elapsed",
            "not ready",
        ],
        &[
            (Kind::CpuLimit, 4.0),
            (Kind::Noise, 3.0),
            (Kind::Schedule, 1.5),
            (Kind::DiskDelay, 2.0),
            (Kind::NetworkDelay, 3.0),
        ],
    ),
    (
        &[
            "address already in use",
            "address in use",
            "eaddrinuse",
            "os error 98",
            "errno 98",
            "port",
        ],
        &[(Kind::Copies, 8.0)],
    ),
    (
        &[
            "no such file",
            "file exists",
            "filenotfound",
            "fileexists",
            "already exists",
            "alreadyexists",
            "eexist",
            "enoent",
            "not a directory",
            "directory not empty",
            "tmp",
            "temp",
        ],
        &[
            (Kind::Copies, 6.0),
            (Kind::DirectoryOrder, 1.5),
            (Kind::DiskDelay, 1.5),
        ],
    ),
    (
        &[
            "connection",
            "refused",
            "reset by peer",
            "broken pipe",
            "socket",
            "http",
            "unreachable",
            "eof",
        ],
        &[
            (Kind::NetworkDelay, 4.0),
            (Kind::NetworkLoss, 3.0),
            (Kind::NetworkRate, 2.0),
            (Kind::CpuLimit, 1.5),
            (Kind::Copies, 1.5),
        ],
    ),
    (
        &[
            "too many open files",
            "emfile",
            "errno 24",
            "os error 24",
            "file descriptor",
        ],
        &[(Kind::OpenFiles, 40.0)],
    ),
    (
        &[
            "memoryerror",
            "out of memory",
            "cannot allocate",
            "allocation",
            "bad_alloc",
            "errno 12",
            "enomem",
        ],
        &[(Kind::MemoryLimit, 30.0)],
    ),
    (
        &[
            "timezone",
            "time zone",
            "tzinfo",
            "utc",
            "offset",
            "dst",
            "localtime",
            "strftime",
        ],
        &[(Kind::TimeZone, 8.0), (Kind::Clock, 4.0)],
    ),
    (
        &[
            "date",
            "day",
            "month",
            "year",
            "midnight",
            "hour",
            "weekday",
            "expired",
            "timestamp",
            "calendar",
        ],
        &[(Kind::Clock, 6.0), (Kind::TimeZone, 6.0)],
    ),
    (
        &[
            "order",
            "sorted",
            "unsorted",
            "first",
            "permutation",
            "keyerror",
            "set(",
            "dict",
            "hash",
            "lists differ",
            "at index",
        ],
        &[(Kind::Seed, 4.0), (Kind::DirectoryOrder, 4.0)],
    ),
    (
        &[
            "almost equal",
            "tolerance",
            "approx",
            "precision",
            "nan",
            "epsilon",
            "not close",
            "allclose",
        ],
        &[(Kind::Seed, 8.0)],
    ),
    (
        &[
            "codec", "unicode", "encode", "decode", "locale", "utf-8", "ascii",
        ],
        &[(Kind::Locale, 12.0), (Kind::Seed, 2.0)],
    ),
    (
        &[
            "fsync",
            "flush",
            "disk",
            "stale",
            "partial",
            "truncated",
            "checksum",
            "i/o",
        ],
        &[(Kind::DiskDelay, 6.0), (Kind::DiskRate, 4.0)],
    ),
    (
        &[
            "never awaited",
            "was destroyed",
            "pending",
            "event loop",
            "coroutine",
            "future",
            "cancelled",
        ],
        &[(Kind::Schedule, 2.0), (Kind::CpuLimit, 2.0)],
    ),
    (
        &[
            "deadlock",
            "lock",
            "poison",
            "race",
            "lost",
            "concurrent",
            "changed size during iteration",
            "left: ",
            "expected",
        ],
        &[(Kind::Schedule, 2.0), (Kind::Copies, 1.2)],
    ),
];

/// What a kind of symptom makes likelier.
fn by_kind(symptom: &Symptom) -> Effects {
    match symptom.kind {
        // A server's call: it waits for those that are made at the same time, for a lock, a pool, a queue.
        SymptomKind::Slow => &[(Kind::Copies, 8.0)],
        SymptomKind::Timeout => &[
            (Kind::CpuLimit, 5.0),
            (Kind::Noise, 3.0),
            (Kind::Schedule, 1.5),
            (Kind::DiskDelay, 2.0),
            (Kind::NetworkDelay, 2.0),
        ],
        // A server: who waits for whom is a matter of how many there are.
        SymptomKind::Hang if symptom.class == "timed out" => {
            &[(Kind::Schedule, 4.0), (Kind::Copies, 30.0)]
        }
        SymptomKind::Hang => &[(Kind::Schedule, 4.0)],
        SymptomKind::OutOfMemory => &[(Kind::MemoryLimit, 30.0), (Kind::Copies, 2.0)],
        SymptomKind::Leak => &[(Kind::OpenFiles, 5.0), (Kind::MemoryLimit, 5.0)],
        SymptomKind::Signal | SymptomKind::Abort | SymptomKind::Sanitizer => {
            &[(Kind::Schedule, 2.0), (Kind::MemoryLimit, 2.0)]
        }
        _ => &[],
    }
}

/// Weights of all kinds for one case.
#[derive(Clone, Debug)]
pub(super) struct Prior([f64; 18]);

/// What a prior is made from.
#[derive(Clone, Debug)]
pub(super) struct Clues<'a> {
    /// How it failed; none when it has not yet.
    pub(super) symptom: Option<&'a Symptom>,
    /// What it used then.
    pub(super) usage: &'a Usage,
    /// More ran beside it than there are cores, or it waited for CPU or memory.
    pub(super) crowded: bool,
}

impl Prior {
    /// From what is known of the first failure.
    pub(super) fn new(clues: &Clues<'_>) -> Self {
        let mut prior = Self(PLAIN.map(|(_, weight)| weight));
        if let Some(symptom) = clues.symptom {
            let said = format!("{} {}", symptom.class, symptom.message).to_lowercase();
            for (words, effects) in WORDS {
                if words.iter().any(|word| says(&said, word)) {
                    prior.multiply(effects);
                }
            }
            prior.multiply(by_kind(symptom));
        }
        if clues.crowded {
            prior.multiply(&[(Kind::CpuLimit, 2.0), (Kind::Noise, 2.0), (Kind::Cpus, 1.5)]);
        }
        prior.weigh(clues.usage);
        prior
    }

    /// By what the run used: nothing is late for a disk that is never used.
    fn weigh(&mut self, usage: &Usage) {
        if usage.wall_us > 0 && usage.waiting_share() > 0.6 {
            // It waits for something: for time, for a lock, for an answer.
            self.multiply(&[
                (Kind::CpuLimit, 1.5),
                (Kind::NetworkDelay, 1.5),
                (Kind::Schedule, 1.3),
            ]);
        }
        if usage.wall_us > 0 && usage.cores() > 1.3 {
            self.multiply(&[(Kind::Schedule, 1.5), (Kind::Cpus, 2.0)]);
        }
        if usage.io_read + usage.io_written > 1 << 20 {
            self.multiply(&[(Kind::DiskDelay, 1.5), (Kind::DiskRate, 3.0)]);
        }
        if usage.memory_peak > 256 << 20 {
            self.multiply(&[(Kind::MemoryLimit, 2.0)]);
        }
    }

    fn multiply(&mut self, effects: &[(Kind, f64)]) {
        for (kind, factor) in effects {
            for (place, (of, _)) in PLAIN.iter().enumerate() {
                if of == kind {
                    self.0[place] = (self.0[place] * factor).min(0.7);
                }
            }
        }
    }

    /// Expected failure rate of a run under the likeliest degree of this kind, above 0.
    pub(super) fn of(&self, kind: Kind) -> f64 {
        PLAIN
            .iter()
            .zip(self.0)
            .find_map(|((of, _), weight)| (*of == kind).then_some(weight))
            .unwrap_or(0.01)
    }
}

/// Whether a word begins in a text, and, when it is short, ends there, too: a *port* is neither a report nor
/// a portion.
fn says(text: &str, word: &str) -> bool {
    let joins = |letter: Option<char>| letter.is_some_and(char::is_alphabetic);
    text.match_indices(word).any(|(place, found)| {
        let before = text[..place].chars().next_back();
        let after = text[place + found.len()..].chars().next();
        !joins(before) && (word.len() > 4 || !joins(after))
    })
}

/// Probability that it still fails without what ran before it, or without what ran beside it.
pub(super) fn keeps_failing(symptom: Option<&Symptom>, crowded: bool) -> (f64, f64) {
    let said = symptom
        .map(|symptom| format!("{} {}", symptom.class, symptom.message).to_lowercase())
        .unwrap_or_default();
    let shared = WORDS[1..3]
        .iter()
        .any(|(words, _)| words.iter().any(|word| says(&said, word)));
    let without_before = if shared { 0.7 } else { 0.8 };
    let without_beside = match (shared, crowded) {
        (true, _) => 0.4,
        (false, true) => 0.7,
        (false, false) => 0.85,
    };
    (without_before, without_beside)
}

#[cfg(test)]
mod tests {
    use cohort_model::{ConditionKind, Symptom, SymptomKind, Usage};

    use super::{Clues, Prior, says};

    fn prior(kind: SymptomKind, message: &str) -> Prior {
        let symptom = Symptom {
            kind,
            class: String::new(),
            message: message.into(),
            frames: Vec::new(),
        };
        let usage = Usage::default();
        Prior::new(&Clues {
            symptom: Some(&symptom),
            usage: &usage,
            crowded: false,
        })
    }

    fn likeliest(prior: &Prior) -> ConditionKind {
        use ConditionKind as Kind;
        let kinds = [
            Kind::Schedule,
            Kind::CpuLimit,
            Kind::Copies,
            Kind::OpenFiles,
            Kind::MemoryLimit,
            Kind::NetworkDelay,
            Kind::TimeZone,
            Kind::Locale,
            Kind::Seed,
        ];
        let mut best = Kind::Schedule;
        for kind in kinds {
            if prior.of(kind) > prior.of(best) {
                best = kind;
            }
        }
        best
    }

    #[test]
    fn what_it_says_decides_what_is_tried_first() {
        use ConditionKind as Kind;
        for (kind, message, first) in [
            (SymptomKind::Assertion, "left: 3, right: 4", Kind::Schedule),
            (SymptomKind::Timeout, "", Kind::CpuLimit),
            (
                SymptomKind::Exception,
                "Address already in use",
                Kind::Copies,
            ),
            (
                SymptomKind::Exception,
                "Too many open files",
                Kind::OpenFiles,
            ),
            (SymptomKind::OutOfMemory, "", Kind::MemoryLimit),
            (SymptomKind::Assertion, "no tzinfo", Kind::TimeZone),
            (
                SymptomKind::Exception,
                "'ascii' codec can't encode",
                Kind::Locale,
            ),
            (SymptomKind::Assertion, "0.1 not almost equal", Kind::Seed),
        ] {
            assert_eq!(likeliest(&prior(kind, message)), first, "{message:?}");
        }
    }

    #[test]
    fn short_words_are_whole_words() {
        assert!(says("port 80 is taken", "port") && says("(port)", "port"));
        assert!(!says("a report", "port") && !says("a portion", "port"));
        assert!(says("timeouts", "timeout"));
    }
}
