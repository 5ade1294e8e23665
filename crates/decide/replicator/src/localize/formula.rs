//! Formulas of spectrum-based fault localization.

/// Keeps a quotient finite where a line is executed by all failing runs and by nothing else; as in the
/// published replication data of Rezaalipour & Furia (EMSE 2024).
const EPSILON: f64 = 0.1;

/// Of one line: which runs executed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counts {
    /// Failing runs that did.
    pub failed: u32,
    /// Passing runs that did.
    pub passed: u32,
    /// Failing runs in all.
    pub all_failed: u32,
}

/// `ef / sqrt(F * (ef + ep))`, 0 to 1 (Ochiai 1957; for faults: Abreu, Zoeteweij & van Gemund, PRDC 2006).
#[must_use]
pub fn ochiai(counts: Counts) -> f64 {
    let failed = f64::from(counts.failed);
    let executed = failed + f64::from(counts.passed);
    if counts.failed == 0 {
        return 0.0;
    }
    failed / (f64::from(counts.all_failed) * executed).sqrt()
}

/// `ef^2 / (ep + F - ef)`, from 0, unbounded (Wong et al., "The DStar method", IEEE Trans. Reliability 2014).
#[must_use]
pub fn dstar(counts: Counts) -> f64 {
    let failed = f64::from(counts.failed);
    let missed = f64::from(counts.all_failed) - failed;
    failed * failed / (f64::from(counts.passed) + missed + EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_calculated_by_hand() {
        let counts = |failed, passed, all_failed| Counts {
            failed,
            passed,
            all_failed,
        };
        assert!((ochiai(counts(1, 0, 1)) - 1.0).abs() < 1e-9);
        assert!((ochiai(counts(2, 6, 2)) - 0.5).abs() < 1e-9);
        assert!((dstar(counts(2, 3, 3)) - 4.0 / 4.1).abs() < 1e-9);
        assert!(ochiai(counts(0, 5, 2)).abs() < 1e-9);
        assert!(ochiai(counts(0, 0, 0)).abs() < 1e-9);
        assert!(dstar(counts(3, 0, 3)).is_finite());
    }
}
