//! Plain rerunning: the same test again and again, in as many lanes as there are cores, until its rate is
//! known or the time is over.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::bugs::{Bug, Bugs, Plain};
use crate::error::Error;

/// What runs longer hangs.
pub(super) const HANGS: Duration = Duration::from_secs(10);

/// How often a running test is looked at.
const LOOK: Duration = Duration::from_micros(500);

/// After so many failures the rate is known well enough.
const ENOUGH: u32 = 10;

/// Runs until [`ENOUGH`] failed, or until the time was over.
///
/// Where they were enough, the share that failed estimates the rate with a relative error of about a third
/// (inverse sampling: Haldane 1945).
#[derive(Clone, Debug, Default)]
pub(super) struct Rerun {
    /// Runs.
    pub runs: u32,
    /// Of those, as the bug fails.
    pub failures: u32,
    /// Of those, otherwise.
    pub others: u32,
    /// How long it took, seconds.
    pub took_s: f64,
    /// Runs and seconds until the first failure, that one included.
    pub first: Option<(u32, f64)>,
}

/// What one run is: the command that a lane starts, of tests in that order.
type Start<'a> = &'a (dyn Fn(u64, &[String]) -> Result<Command, Error> + Sync);

/// What all lanes share.
struct Lanes<'a> {
    bug: &'a Bug,
    command: Start<'a>,
    neighbours: Vec<String>,
    limits: Limits,
    start: Instant,
    over: AtomicBool,
    seen: Mutex<Rerun>,
}

/// When rerunning ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// After so long.
    pub budget: Duration,
    /// After so many runs.
    pub runs: u32,
    /// After so many failures.
    pub failures: u32,
    /// Runs at the same time.
    pub lanes: u64,
}

/// Reruns `bug` for so long at most.
pub(super) fn rerun(bugs: &Bugs, bug: &Bug, budget: Duration) -> Result<Rerun, Error> {
    let limits = Limits {
        budget,
        runs: u32::MAX,
        failures: ENOUGH,
        lanes: cores(),
    };
    let neighbours = match bug.plain {
        Plain::Alone => vec![bug.test.clone()],
        Plain::Shuffled => bugs.neighbours(bug)?,
    };
    let plainly = |_, tests: &[String]| Ok(bugs.plainly(bug, tests));
    rerun_as(bug, neighbours, &plainly, limits)
}

/// Starts `command` again and again, with `tests` in another order each time.
pub(super) fn rerun_as(
    bug: &Bug,
    tests: Vec<String>,
    command: Start<'_>,
    limits: Limits,
) -> Result<Rerun, Error> {
    let lanes = Lanes {
        bug,
        command,
        neighbours: tests,
        limits,
        start: Instant::now(),
        over: AtomicBool::new(false),
        seen: Mutex::default(),
    };
    let wrong = std::thread::scope(|scope| {
        let lane = |number| {
            let lanes = &lanes;
            scope.spawn(move || lanes.run(number))
        };
        let lanes: Vec<_> = (0..limits.lanes).map(lane).collect();
        let ends = lanes.into_iter().map(|lane| lane.join());
        ends.filter_map(|end| end.ok().and_then(Result::err)).next()
    });
    if let Some(error) = wrong {
        return Err(error);
    }
    let took_s = lanes.start.elapsed().as_secs_f64();
    let seen = lanes.seen.into_inner().unwrap_or_default();
    Ok(Rerun { took_s, ..seen })
}

impl Rerun {
    /// Share that fails; where none did, what it would be if the next one had.
    pub(super) fn rate(&self) -> f64 {
        let none = u32::from(self.failures == 0);
        f64::from(self.failures + none) / f64::from(self.runs + none)
    }

    /// The same as a person reads it, in percent.
    pub(super) fn shown(&self) -> String {
        let percent = self.rate() * 100.0;
        match (self.failures, self.first) {
            (1.., Some((runs, after_s))) => format!(
                "{percent:.2} % ({} of {}; first {runs}, {after_s:.1} s)",
                self.failures, self.runs
            ),
            _ => format!("< {percent:.2} % (0 of {})", self.runs),
        }
    }
}

/// Runs to the first failure where each one fails with probability `rate`: their geometric mean over many
/// attempts, `exp(E ln K)` of the geometric distribution (about `0.56 / rate`, as `E ln` of an exponential is
/// `ln mean - 0.577`). It is what the geometric mean of attempts of another kind is comparable with; the mean
/// `1 / rate` is not.
pub(super) fn runs_to_first(rate: f64) -> f64 {
    let rate = rate.clamp(1e-6, 1.0);
    let (mut left, mut sum) = (1.0, 0.0);
    let mut runs = 1.0_f64;
    while left > 1e-9 {
        sum += left * rate * runs.ln();
        left *= 1.0 - rate;
        runs += 1.0;
    }
    sum.exp()
}

/// Lanes: as many as cores.
pub(super) fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

impl Lanes<'_> {
    fn run(&self, lane: u64) -> Result<(), Error> {
        let mut order = self.neighbours.clone();
        let mut random = Random(lane + 1);
        while self.start.elapsed() < self.limits.budget && !self.over.load(Ordering::SeqCst) {
            random.shuffle(&mut order);
            let said = once((self.command)(lane, &order)?, &self.over)?;
            let (Some(said), Ok(mut seen)) = (said, self.seen.lock()) else {
                continue;
            };
            seen.runs += 1;
            match said {
                None => {}
                Some(said) if self.bug.is_said(&said) => {
                    seen.failures += 1;
                    let first = (seen.runs, self.start.elapsed().as_secs_f64());
                    seen.first.get_or_insert(first);
                }
                Some(_) => seen.others += 1,
            }
            if seen.failures >= self.limits.failures || seen.runs >= self.limits.runs {
                self.over.store(true, Ordering::SeqCst);
            }
        }
        Ok(())
    }
}

/// Runs once. None: it was ended, since it was over elsewhere. Else what it said if it failed.
fn once(mut command: Command, over: &AtomicBool) -> Result<Option<Option<String>>, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| Error::Start {
        program: program.clone(),
        source,
    };
    // A file, as nobody has to read it for the test to go on.
    let mut said = unnamed().map_err(failed)?;
    let out = said.try_clone().map_err(failed)?;
    command
        .stdin(Stdio::null())
        .stderr(out.try_clone().map_err(failed)?)
        .stdout(out)
        .process_group(0);
    let mut child = command.spawn().map_err(failed)?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            if status.success() {
                return Ok(Some(None));
            }
            let mut text = Vec::new();
            said.seek(SeekFrom::Start(0)).map_err(failed)?;
            said.read_to_end(&mut text).map_err(failed)?;
            return Ok(Some(Some(String::from_utf8_lossy(&text).into_owned())));
        }
        if start.elapsed() > HANGS {
            kill(&mut child);
            return Ok(Some(Some("it hangs".into())));
        }
        if over.load(Ordering::SeqCst) && start.elapsed() > Duration::from_secs(1) {
            kill(&mut child);
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

fn unnamed() -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!(
        "bench-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// With all that it started.
fn kill(child: &mut Child) {
    // It may have ended just now.
    let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    let _ = child.wait();
}

/// A small generator of random numbers (xorshift64*, Vigna 2016), for orders only.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Fisher and Yates.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = self.next() % (at as u64 + 1);
            items.swap(at, usize::try_from(other).unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_hold_the_same_tests() {
        let mut order: Vec<u32> = (0..50).collect();
        Random(7).shuffle(&mut order);
        assert_ne!(order, (0..50).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn the_geometric_mean_of_runs_is_less_than_their_mean() {
        assert!((runs_to_first(1.0) - 1.0).abs() < 1e-9);
        // By hand: P(1) = 1/2, P(2) = 1/4, ...: exp(sum of ln(k) / 2^k) = 1.6617 (Somos' constant).
        assert!((runs_to_first(0.5) - 1.661_687_95).abs() < 1e-6);
        let typical = runs_to_first(0.001);
        assert!((typical / 561.5 - 1.0).abs() < 0.01, "{typical}");
    }

    #[test]
    fn what_never_failed_is_a_bound() {
        let seen = |runs, failures| Rerun {
            runs,
            failures,
            first: (failures > 0).then_some((1, 0.1)),
            ..Rerun::default()
        };
        assert!((seen(99, 0).rate() - 0.01).abs() < 1e-9);
        assert!((seen(200, 10).rate() - 0.05).abs() < 1e-9);
        assert!(seen(99, 0).shown().starts_with("< 1.00 %"));
    }

    #[test]
    fn a_run_tells_what_it_said_when_it_failed() {
        let run = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            once(command, &AtomicBool::new(false)).expect("it runs")
        };
        assert_eq!(run("echo fine"), Some(None));
        assert_eq!(run("echo wrong; exit 3"), Some(Some("wrong\n".into())));
    }
}
