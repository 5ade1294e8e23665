//! The planted defects: which are switched on, and since when.
//!
//! Each is a mistake that people make, in the code of the endpoint that it belongs to; look for
//! `Defect::` to find both ways of doing it.

use std::fmt;
use std::time::{Duration, Instant};

/// A mistake, and where it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// `GET /recommendations` caches under a key that never comes again.
    MemoryLeak,
    /// `GET /orders/{id}/receipt` keeps the file open.
    DescriptorLeak,
    /// `GET /reports/sales` reads every order, and each of its products, once for each category.
    SlowQuery,
    /// `POST /checkout` keeps the stock locked while it waits for the bank.
    LockAcrossIo,
    /// `POST /checkout` cuts a coupon's code in the middle of a letter.
    Crash,
    /// `POST /cart/items` reads the total, waits for the price, and writes the sum.
    Race,
    /// `GET /search` tries every way of matching a pattern with many stars.
    CpuBlowup,
    /// No answer tells browsers to take it for what it says that it is.
    MissingHeaders,
    /// `GET /leaflets` takes a name for a path.
    Traversal,
    /// `GET /welcome` writes the visitor's name into the page as it came.
    ReflectedInput,
    /// `GET /go` sends visitors anywhere.
    OpenRedirect,
    /// `GET /leaflets` answers with what went wrong, to the line.
    VerboseError,
    /// `POST /login` gives scripts the session's cookie.
    WeakCookie,
    /// A console for the time of development is still there, on a port of its own.
    UnexpectedListener,
    /// The widget for paying is of a version that is known to be vulnerable.
    VulnerableDependency,
    /// `POST /logout` locks what is wanted, then the carts; `POST /cart/items` locks the carts, then what is wanted.
    Deadlock,
}

const NAMES: [(&str, Defect); 16] = [
    ("memory-leak", Defect::MemoryLeak),
    ("descriptor-leak", Defect::DescriptorLeak),
    ("slow-query", Defect::SlowQuery),
    ("lock-across-io", Defect::LockAcrossIo),
    ("crash", Defect::Crash),
    ("race", Defect::Race),
    ("cpu-blowup", Defect::CpuBlowup),
    ("missing-headers", Defect::MissingHeaders),
    ("traversal", Defect::Traversal),
    ("reflected-input", Defect::ReflectedInput),
    ("open-redirect", Defect::OpenRedirect),
    ("verbose-error", Defect::VerboseError),
    ("weak-cookie", Defect::WeakCookie),
    ("unexpected-listener", Defect::UnexpectedListener),
    ("vulnerable-dependency", Defect::VulnerableDependency),
    ("deadlock", Defect::Deadlock),
];

/// Those that are switched on.
#[derive(Debug)]
pub(crate) struct Defects {
    planted: Vec<Defect>,
    begin: Instant,
    after: Duration,
}

impl Defects {
    /// `SHOP_DEFECTS` and `SHOP_DEFECTS_AFTER`. The error is for a person.
    pub(crate) fn from_environment() -> Result<Defects, String> {
        let variable = |name| std::env::var(name).unwrap_or_default();
        Defects::parse(&variable("SHOP_DEFECTS"), &variable("SHOP_DEFECTS_AFTER"))
    }

    fn parse(names: &str, after: &str) -> Result<Defects, String> {
        let names = names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let planted = names.map(|name| {
            let found = NAMES.iter().find(|(known, _)| *known == name);
            found.map(|(_, defect)| *defect).ok_or_else(|| {
                let known = NAMES.map(|(known, _)| known).join(", ");
                format!("SHOP_DEFECTS: there is no defect `{name}`; there are {known}")
            })
        });
        let after_s = match after.trim().trim_end_matches('s') {
            "" => 0,
            text => text
                .parse()
                .map_err(|_| format!("SHOP_DEFECTS_AFTER: `{after}` is no number of seconds"))?,
        };
        Ok(Defects {
            planted: planted.collect::<Result<_, _>>()?,
            begin: Instant::now(),
            after: Duration::from_secs(after_s),
        })
    }

    /// Whether it is in effect by now.
    pub(crate) fn on(&self, defect: Defect) -> bool {
        self.planted.contains(&defect) && self.begin.elapsed() >= self.after
    }
}

impl fmt::Display for Defects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.planted.is_empty() {
            return write!(f, "no defects planted");
        }
        let names = NAMES
            .iter()
            .filter(|(_, defect)| self.planted.contains(defect));
        let names: Vec<&str> = names.map(|(name, _)| *name).collect();
        write!(
            f,
            "planted after {} s: {}",
            self.after.as_secs(),
            names.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defects_are_named_and_begin_when_told() {
        let now = Defects::parse("race, crash", "").expect("right");
        assert!(now.on(Defect::Race) && now.on(Defect::Crash) && !now.on(Defect::MemoryLeak));
        let later = Defects::parse("race", "3600s").expect("right");
        assert!(!later.on(Defect::Race));
        assert!(
            Defects::parse("rage", "")
                .expect_err("wrong")
                .contains("lock-across-io")
        );
        assert!(Defects::parse("race", "soon").is_err());
    }
}
