//! What memory grows by: pages that were touched for the first time, and who did.
//!
//! A page that is given back and taken again is touched twice; a page that stays is touched once. So what was touched once while it was
//! watched is growth, by whichever allocator it came, and costs nothing where nothing grows.

use std::collections::BTreeMap;

use cohort_model::HelperTold;

use super::Error;
use super::profile::{Profile, Share};
use super::samples::{Sample, samples};
use super::symbols::Symbols;

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Less growth is none, bytes.
const BYTES_MIN: u64 = 128 << 10;
/// Shorter spans say nothing about a rate, seconds.
const SPAN_MIN_S: f64 = 0.5;

/// Growth of a program: pages by stack, and what it tells.
pub(super) fn read(output: &str, program: &str) -> (Profile, Vec<HelperTold>) {
    let all = samples(output);
    let mut touched: BTreeMap<u64, Vec<&Sample<'_>>> = BTreeMap::new();
    for sample in &all {
        if let Some(address) = anonymous(sample.said) {
            touched.entry(address / PAGE).or_default().push(sample);
        }
    }
    let mut symbols = Symbols::default();
    let mut profile = Profile::default();
    for samples in touched.values() {
        if let [once] = samples.as_slice() {
            profile.add(symbols.stack(once), 1);
        }
    }
    let times = || all.iter().map(|it| it.at_s);
    let span_s = times().fold(0.0, f64::max) - times().fold(f64::INFINITY, f64::min);
    let shares = profile.shares(program);
    let told = shares
        .iter()
        .map(|share| told(share, span_s.max(SPAN_MIN_S)));
    let told = told.collect();
    (profile, told)
}

/// Growth as a runtime tells it: `seconds 20.0`, then folded stacks with bytes.
///
/// # Errors
/// When it is something else.
pub(super) fn read_folded(
    output: &str,
    program: &str,
) -> Result<(Profile, Vec<HelperTold>), Error> {
    let (span_s, profile) = folded(output)?;
    let bytes: u64 = profile.stacks().map(|(_, bytes)| bytes).sum();
    let shares = if bytes < BYTES_MIN {
        Vec::new()
    } else {
        profile.shares(program)
    };
    let told = shares.iter().map(|share| {
        let mb_min = share.samples as f64 / 1e6 / span_s.max(SPAN_MIN_S) * 60.0;
        share.tell(&format!(
            "{:.0} % of the growth, {mb_min:.1} MB a minute, is allocated in {}.",
            share.percent(),
            share.whom()
        ))
    });
    let told = told.collect();
    Ok((profile, told))
}

/// Files, sockets and threads as a runtime tells them: `seconds 20.0`, then folded stacks with how many of them stay.
///
/// # Errors
/// When it is something else.
pub(super) fn read_lasting(
    output: &str,
    program: &str,
) -> Result<(Profile, Vec<HelperTold>), Error> {
    let (span_s, profile) = folded(output)?;
    let shares = profile.shares(program);
    let told = shares.iter().map(|share| {
        share.tell(&format!(
            "{:.0} % of what stays open or goes on, {:.0} a minute, begins in {} ({} of {}).",
            share.percent(),
            share.samples as f64 / span_s.max(SPAN_MIN_S) * 60.0,
            share.whom(),
            share.samples,
            share.of
        ))
    });
    let told = told.collect();
    Ok((profile, told))
}

/// How long it looked, seconds, and the stacks that follow.
fn folded(output: &str) -> Result<(f64, Profile), Error> {
    let (first, stacks) = output.split_once('\n').unwrap_or((output, ""));
    let seconds = first.strip_prefix("seconds ");
    let Some(span_s) = seconds.and_then(|it| it.trim().parse::<f64>().ok()) else {
        return Err(Error::Line {
            line: 1,
            found: first.chars().take(80).collect(),
            expected: "how long it looked, such as `seconds 20.0`",
        });
    };
    Ok((span_s, Profile::of_folded(stacks)?))
}

fn told(share: &Share, span_s: f64) -> HelperTold {
    let mb_min = (share.samples * PAGE) as f64 / 1e6 / span_s * 60.0;
    share.tell(&format!(
        "{:.0} % of the growth, {mb_min:.1} MB a minute, is allocated in {} ({} of {} new pages).",
        share.percent(),
        share.whom(),
        share.samples,
        share.of
    ))
}

/// `7f3be1398000 [unknown] (//anon)`; none in a file.
fn anonymous(said: &str) -> Option<u64> {
    let (address, rest) = said.split_once(' ')?;
    let kind = rest.rsplit_once('(')?.1.strip_suffix(')')?;
    let memory = matches!(kind, "//anon" | "[heap]" | "[unknown]") || kind.starts_with("[anon");
    memory.then(|| u64::from_str_radix(address, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(page: u64, at: u64, function: &str) -> String {
        format!(
            "shop 1 {at}.0: {:x} [unknown] (//anon)\n\t 1 malloc (/lib/libc.so.6)\n\t 2 {function} (/none/shop)\n\t 3 shop::serve (/none/shop)\n\n",
            page * PAGE
        )
    }

    #[test]
    fn pages_that_stay_count_and_those_that_come_and_go_do_not() {
        let kept = (0..40).map(|n| touch(n, 100 + n, "shop::Session::new"));
        let churn = (0..400).map(|n| touch(1000 + n % 10, 100, "shop::buffer"));
        let output: String = kept.chain(churn).collect();
        let (profile, told) = read(&output, "shop");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(
            told[0].sentence,
            "100 % of the growth, 0.3 MB a minute, is allocated in `shop::Session::new`, called by `shop::serve` (40 of 40 new pages)."
        );
        assert!(!profile.folded().contains("buffer"));
        let file = output.replace("//anon", "/data/file");
        assert_eq!(read(&file, "shop").1, [], "no memory");
    }
}
