//! Plain rerunning: the same test again and again, in as many lanes as there are cores, until it fails
//! or the time is over.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::bugs::{Bug, Bugs, Plain};
use crate::error::Error;

/// What runs longer hangs.
pub(super) const HANGS: Duration = Duration::from_secs(10);

/// How often a running test is looked at.
const LOOK: Duration = Duration::from_micros(500);

/// Until the first failure, or until the time was over.
#[derive(Clone, Debug)]
pub(super) struct Rerun {
    /// Runs, the failing one included.
    pub runs: u32,
    /// How long it took, seconds.
    pub took_s: f64,
    /// What failed, if anything did: for [`Plain::Shuffled`] the order that failed.
    pub failed: Option<Vec<String>>,
}

/// What all lanes share.
struct Lanes<'a> {
    bugs: &'a Bugs,
    bug: &'a Bug,
    neighbours: Vec<String>,
    end: Instant,
    runs: AtomicU32,
    over: AtomicBool,
    failed: Mutex<Option<Vec<String>>>,
}

/// Reruns `bug` for so long at most.
pub(super) fn rerun(bugs: &Bugs, bug: &Bug, budget: Duration) -> Result<Rerun, Error> {
    let neighbours = match bug.plain {
        Plain::Alone => vec![bug.test.clone()],
        Plain::Shuffled => bugs.neighbours(bug)?,
    };
    let start = Instant::now();
    let lanes = Lanes {
        bugs,
        bug,
        neighbours,
        end: start + budget,
        runs: AtomicU32::new(0),
        over: AtomicBool::new(false),
        failed: Mutex::new(None),
    };
    let wrong = std::thread::scope(|scope| {
        let lane = |number| {
            let lanes = &lanes;
            scope.spawn(move || lanes.run(number))
        };
        let lanes: Vec<_> = (0..cores()).map(lane).collect();
        let ends = lanes.into_iter().map(|lane| lane.join());
        ends.filter_map(|end| end.ok().and_then(Result::err)).next()
    });
    if let Some(error) = wrong {
        return Err(error);
    }
    Ok(Rerun {
        runs: lanes.runs.load(Ordering::SeqCst),
        took_s: start.elapsed().as_secs_f64(),
        failed: lanes.failed.into_inner().unwrap_or_default(),
    })
}

/// Lanes: as many as cores.
pub(super) fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

impl Lanes<'_> {
    fn run(&self, lane: u64) -> Result<(), Error> {
        let mut order = self.neighbours.clone();
        let mut random = Random(lane + 1);
        while Instant::now() < self.end && !self.over.load(Ordering::SeqCst) {
            random.shuffle(&mut order);
            let failed = once(self.bugs.plainly(self.bug, &order), &self.over)?;
            let Some(said) = failed else { continue };
            self.runs.fetch_add(1, Ordering::SeqCst);
            if said.is_some_and(|said| self.bug.is_said(&said)) {
                self.over.store(true, Ordering::SeqCst);
                if let Ok(mut failed) = self.failed.lock() {
                    failed.get_or_insert(order);
                }
                return Ok(());
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
