//! How alike two stacks are: the position dependent model of ReBucket (Dang, Wu, Zhang, Zhang, Nobel,
//! "ReBucket: a method for clustering duplicate crash reports based on call stack similarity",
//! ICSE 2012, section 4.1), with the constants of CASR (`libcasr::stacktrace::similarity`).
//!
//! ```text
//! sim(a, b) = max over common subsequences of  sum exp(-(c * min(i, j) + o * |i - j|))
//!             / sum over 1 ..= min(|a|, |b|) of exp(-c * i)
//! ```
//!
//! A place that both have counts the more the nearer it is to where it failed (c), and the more the
//! less its depths differ (o).

use super::frame::Place;

/// How fast places matter less with their distance from the innermost one.
const C: f64 = 0.04;
/// How much a shift between the stacks takes away.
const O: f64 = 0.13;

/// 0: nothing in common, 1: equal.
#[must_use]
pub(crate) fn similarity(one: &[Place], other: &[Place]) -> f64 {
    let shorter = one.len().min(other.len());
    if shorter == 0 {
        return 0.0;
    }
    let mut above = vec![0.0_f64; one.len() + 1];
    for (i, b) in (1_u32..).zip(other) {
        let mut row = vec![0.0_f64; one.len() + 1];
        for (j, a) in (1_u32..).zip(one) {
            let at = j as usize;
            let cost = if a == b {
                (-(f64::from(i.min(j)) * C + f64::from(i.abs_diff(j)) * O)).exp()
            } else {
                0.0
            };
            row[at] = row[at - 1].max(above[at]).max(above[at - 1] + cost);
        }
        above = row;
    }
    let most: f64 = (1_u32..)
        .take(shorter)
        .map(|i| (-C * f64::from(i)).exp())
        .sum();
    above[one.len()] / most
}
