//! At most so much CPU in each tenth of a second, where there is no control group that could see to
//! it: what the program has used is counted, and when it is too much all of it is paused until the
//! next tenth.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// As control groups have it.
const PERIOD: Duration = Duration::from_millis(100);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(4);

/// State of a limit of CPU.
#[derive(Debug)]
pub(crate) struct Quota {
    cores: f64,
    period: Instant,
    left_s: f64,
    used: HashMap<i32, f64>,
    /// When it is to be looked again.
    pub(crate) next: Instant,
}

impl Quota {
    pub(crate) fn new(cores: f64, now: Instant) -> Quota {
        Quota {
            cores,
            period: now,
            left_s: cores * PERIOD.as_secs_f64(),
            used: HashMap::new(),
            next: now + LOOK,
        }
    }

    /// Looks at what processes have used; until when all are paused, if they are.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        pids: impl Iterator<Item = i32>,
    ) -> Option<Instant> {
        let mut used = HashMap::new();
        for pid in pids {
            let Some(total) = used_s(pid) else { continue };
            // One that is new began within this look.
            let before = self.used.get(&pid).copied().unwrap_or(0.0);
            self.left_s -= (total - before).max(0.0);
            used.insert(pid, total);
        }
        self.used = used;
        let share = self.cores * PERIOD.as_secs_f64();
        while now >= self.period + PERIOD {
            self.period += PERIOD;
            // What was too much is paid back; what was not used is not kept.
            self.left_s = (self.left_s + share).min(share);
        }
        self.next = now + LOOK;
        (self.left_s <= 0.0).then(|| self.period + PERIOD)
    }
}

/// CPU time of a process, seconds: its clock's number is made of its id (clock_getcpuclockid(3)).
#[expect(unsafe_code, reason = "clock_gettime(2) of another process's clock")]
fn used_s(pid: i32) -> Option<f64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let clock = (!pid << 3) | 2;
    // SAFETY: writes a time of ours.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    Some(Duration::new(seconds, nanoseconds).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some() {
        let me = std::process::id().cast_signed();
        assert!(used_s(me).expect("a clock") > 0.0);
        assert_eq!(used_s(i32::MAX - 1), None);
    }

    #[test]
    fn what_was_used_beyond_the_limit_is_paid_back() {
        let begin = Instant::now();
        let me = std::process::id().cast_signed();
        let mut quota = Quota::new(1e-9, begin);
        // More was used than so little: everything is paused to the end of the period.
        let until = quota.look(begin, [me].into_iter());
        assert_eq!(until, Some(begin + PERIOD));
        let mut quota = Quota::new(1e9, begin);
        assert_eq!(quota.look(begin, [me].into_iter()), None);
    }
}
