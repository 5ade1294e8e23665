//! Locks that others come for: who holds them for long, by where they are let go of.
//!
//! A thread that waits for a lock of an asynchronous runtime stands nowhere, and so does who holds it. But each lock is let go of
//! by a call, whose stack names the holder; and where others wait in a row, one holder's time is that since the last one's end.

use std::collections::BTreeMap;

use cohort_model::HelperTold;

use super::profile::{Profile, Share};
use super::samples::{Sample, samples};
use super::symbols::Symbols;

/// Longer than this nobody held it: it was free, seconds.
const HELD_MAX_S: f64 = 5.0;
/// Less time held than this is not worth telling, of all the time watched.
const HELD_MIN: f64 = 0.05;
/// Innermost frames that tell what was let go of.
const TELLING: usize = 6;

enum Happened {
    Waits(u64),
    /// Without waiting being seen: `false`.
    Lets(u64, bool),
}

/// Time held by stack of who let go, microseconds, and what it tells.
pub(super) fn read(output: &str, program: &str) -> (Profile, Vec<HelperTold>) {
    let mut all = samples(output);
    all.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let mut symbols = Symbols::default();
    let mut profile = Profile::default();
    let mut since: BTreeMap<u64, f64> = BTreeMap::new();
    for sample in &all {
        match happened(sample) {
            Some(Happened::Waits(lock)) => {
                since.entry(lock).or_insert(sample.at_s);
            }
            Some(Happened::Lets(lock, waits)) => {
                let begun = since.remove(&lock);
                let held_s = begun.map(|it| sample.at_s - it);
                if let Some(held_s) = held_s.filter(|it| *it <= HELD_MAX_S) {
                    profile.add(symbols.stack(sample), (held_s * 1e6) as u64);
                }
                if !waits {
                    since.insert(lock, sample.at_s);
                }
            }
            None => {}
        }
    }
    let span_s = match (all.first(), all.last()) {
        (Some(first), Some(last)) => last.at_s - first.at_s,
        _ => 0.0,
    };
    let shares = profile.shares(program);
    let told = shares.iter().filter_map(|it| tell(it, span_s)).collect();
    (profile, told)
}

/// `syscalls:sys_enter_futex: uaddr: 0x1, op: 0x00000081, ...`, `cohort_7:released: (55a3) lock=0x55a381f2adc0`
fn happened(sample: &Sample<'_>) -> Option<Happened> {
    const CONDITIONS: [&str; 5] = ["cond", "Condvar", "notify", "unpark", "sem_post"];
    const LOCKS: [&str; 4] = ["utex::", "rwlock", "unlock", "lll_lock"];
    let hex = |name: &str| {
        let after = sample.said.split_once(name)?.1;
        let digits = after.split(|it: char| !it.is_ascii_hexdigit()).next()?;
        u64::from_str_radix(digits, 16).ok()
    };
    let inner = || sample.stack.iter().take(TELLING);
    let has = |words: &[&str]| inner().any(|it| words.iter().any(|word| it.name.contains(word)));
    if let Some(lock) = hex("lock=0x") {
        // Asking for one may hand on what was left of another's.
        let asks = has(&["Acquire as core::future"]);
        return (!asks).then_some(Happened::Lets(lock, false));
    }
    let lock = hex("uaddr: 0x")?;
    match hex("op: 0x")? & 0x7f {
        0 | 9 => Some(Happened::Waits(lock)),
        1 | 10 if has(&LOCKS) && !has(&CONDITIONS) => Some(Happened::Lets(lock, true)),
        _ => None,
    }
}

fn tell(share: &Share, span_s: f64) -> Option<HelperTold> {
    let part = share.samples as f64 / 1e6 / span_s.max(0.1);
    (part >= HELD_MIN).then(|| {
        share.tell(&format!(
            "{:.0} % of the time in which locks were held that others came for, {:.0} ms of each second, ended in {}.",
            share.percent(),
            part * 1e3,
            share.whom()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at_ms: u32, said: &str, inner: &str, function: &str) -> String {
        let at = f64::from(at_ms) / 1e3;
        format!(
            "shop 5 {at:.6}: {said}\n\t 1 {inner} (/none/lib)\n\t 2 {function} (/none/shop)\n\n"
        )
    }

    #[test]
    fn who_holds_an_asynchronous_lock_for_long_is_named() {
        let mut output = String::new();
        for round in 0..20_u32 {
            let lets = |at, function| {
                let said = "cohort_5:released: (55a3) lock=0x7f01";
                event(
                    round * 100 + at,
                    said,
                    "tokio::Semaphore::release",
                    function,
                )
            };
            output += &lets(60, "shop::checkout");
            output += &lets(61, "shop::list");
            output += &lets(62, "shop::list");
        }
        let (_, told) = read(&output, "shop");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].function.as_deref(), Some("shop::checkout"));
        assert!(told[0].sentence.starts_with("98 % of the time"), "{told:?}");
    }

    #[test]
    fn who_holds_a_lock_of_threads_for_long_is_named_and_idle_threads_are_not() {
        let mut output = String::new();
        for round in 0..20_u32 {
            let futex = |at, op: &str, inner, function| {
                let said = format!("syscalls:sys_enter_futex: uaddr: 0x7f02, op: {op}, val: 0x2");
                event(round * 100 + at, &said, inner, function)
            };
            output += &futex(10, "0x00000080", "futex_wait", "shop::list");
            output += &futex(50, "0x00000081", "__pthread_mutex_unlock", "shop::pay");
            let idle =
                |at, op: &str, inner| futex(at, op, inner, "shop::pool").replace("7f02", "7f03");
            output += &idle(0, "0x00000080", "pthread_cond_wait");
            output += &idle(90, "0x00000081", "pthread_cond_signal");
        }
        let (_, told) = read(&output, "shop");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].function.as_deref(), Some("shop::pay"));
    }
}
