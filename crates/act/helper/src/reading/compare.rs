//! What is different in the profile of an instance from that of one that is well, both taken at the same time.

use cohort_model::HelperTold;

use super::Profile;
use super::calls;
use super::profile::Share;
use crate::Reads;

/// Fewer samples of the one that is well say nothing about shares.
const SAMPLES_MIN: u64 = 20;
/// Share by which they have to differ, 0 to 1.
const DIFFERENCE_MIN: f64 = 0.1;
/// And how many standard errors: the test of two proportions.
const ERRORS_MIN: f64 = 3.0;
/// The same function of the same share, so many times as long.
const FACTOR_MIN: f64 = 2.0;
/// Smaller shares are not told even if they are larger than there, 0 to 1.
const SHARE_MIN: f64 = 0.1;

/// What changed, in a sentence; nothing when nothing did. `other` is the name of the instance that is well.
#[must_use]
pub fn compared(
    reads: Reads,
    (here, there): (&Profile, &Profile),
    program: &str,
    other: &str,
) -> Option<HelperTold> {
    if reads == Reads::Calls {
        return calls::compared((here, there), other);
    }
    let (mine, theirs) = (here.by_function(program), there.by_function(program));
    let (of_mine, of_theirs) = (here.samples(), there.samples());
    if of_mine < SAMPLES_MIN {
        return None;
    }
    let count = |name: &String| theirs.get(name).map_or(0, |it| it.samples);
    let part = |samples: u64, of: u64| samples as f64 / of.max(1) as f64;
    let rise = |(name, share): &(&String, &Share)| {
        part(share.samples, of_mine) - part(count(name), of_theirs)
    };
    let of = what(reads);
    let seen = |share: &Share, there: u64| {
        format!(
            "{} of {of_mine} here, {there} of {of_theirs} there",
            share.samples
        )
    };
    let enough = of_theirs >= SAMPLES_MIN;
    let rises = mine.iter().max_by(|a, b| rise(a).total_cmp(&rise(b)));
    if let Some((name, share)) = rises.filter(|it| {
        enough
            && rise(it) >= DIFFERENCE_MIN
            && is_sure((it.1.samples, of_mine), (count(it.0), of_theirs))
    }) {
        let there = count(name);
        let percent = 100.0 * part(there, of_theirs);
        return Some(share.tell(&format!(
            "`{}` takes {:.0} % of {of} here, {percent:.0} % on {other} ({}).",
            share.shown(),
            share.percent(),
            seen(share, there)
        )));
    }
    // The same mixture, but more of it.
    let most = mine.iter().max_by_key(|(_, share)| share.samples);
    let (name, share) = most.filter(|it| part(it.1.samples, of_mine) >= SHARE_MIN)?;
    let there = count(name);
    let factor = share.samples as f64 / there.max(1) as f64;
    let by_chance = ((share.samples + there) as f64).sqrt() * ERRORS_MIN;
    let is_more = factor >= FACTOR_MIN && (share.samples as f64 - there as f64) > by_chance;
    is_more.then(|| {
        let times = match there {
            0 => format!("and none of it on {other}"),
            _ => format!("{factor:.1} times as long as on {other}"),
        };
        share.tell(&format!(
            "`{}` takes {:.0} % of {of} here, {times} ({}).",
            share.shown(),
            share.percent(),
            seen(share, there)
        ))
    })
}

/// What a profile is made of.
fn what(reads: Reads) -> &'static str {
    match reads {
        Reads::Switches => "the time waited",
        Reads::Waited => "the time in its own code",
        Reads::Growth | Reads::Grown => "the growth",
        Reads::Locks => "the time in which locks are held",
        Reads::Kept | Reads::Stays => "what stays open",
        _ => "the CPU time",
    }
}

/// Whether two shares differ by more than chance: the test of two proportions, with the variance of both together.
fn is_sure((here, of_here): (u64, u64), (there, of_there): (u64, u64)) -> bool {
    let (n, m) = (of_here as f64, of_there as f64);
    let (p, q) = (here as f64 / n, there as f64 / m);
    let both = (here + there) as f64 / (n + m);
    let error = (both * (1.0 - both) * (1.0 / n + 1.0 / m)).sqrt();
    p - q >= ERRORS_MIN * error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(counts: &[(&str, u64)]) -> Profile {
        let lines = counts.iter();
        let lines = lines
            .map(|(name, count)| format!("main;serve (app/a.rs:1);{name} (app/a.rs:7) {count}\n"));
        Profile::of_folded(&lines.collect::<String>()).expect("folded")
    }

    fn said(here: &[(&str, u64)], there: &[(&str, u64)]) -> Option<String> {
        let profiles = (&profile(here), &profile(there));
        let told = compared(Reads::Folded, profiles, "shop", "i1");
        told.map(|it| it.sentence)
    }

    #[test]
    fn what_takes_a_larger_share_is_named_with_both() {
        assert_eq!(
            said(
                &[("rank", 610), ("load", 390)],
                &[("rank", 12), ("load", 288)]
            )
            .as_deref(),
            Some(
                "`rank (app/a.rs:7)` takes 61 % of the CPU time here, 4 % on i1 (610 of 1000 here, 12 of 300 there)."
            )
        );
    }

    #[test]
    fn more_of_the_same_is_told_as_such() {
        assert_eq!(
            said(
                &[("rank", 900), ("load", 100)],
                &[("rank", 270), ("load", 30)]
            )
            .as_deref(),
            Some(
                "`rank (app/a.rs:7)` takes 90 % of the CPU time here, 3.3 times as long as on i1 (900 of 1000 here, 270 of 300 there)."
            )
        );
        let idle = said(&[("rank", 900), ("load", 100)], &[("load", 3)]);
        assert!(idle.is_some_and(|it| it.contains("none of it on i1")));
    }

    #[test]
    fn chance_is_not_told() {
        let here = [("rank", 20), ("load", 30)];
        assert_eq!(said(&here, &[("rank", 14), ("load", 36)]), None);
        assert_eq!(said(&here, &here), None);
        assert_eq!(said(&[("rank", 19)], &[("rank", 1)]), None, "too few");
        assert_eq!(
            said(&here, &[("rank", 300), ("load", 450)]),
            None,
            "it is busier there"
        );
    }
}
