//! Which rows a suite gives, by its character, and how they are measured: in rounds, all contenders
//! once a round and in another order each time, one ratio a round.

use super::contender::{Contender, Tools};
use super::junit;
use super::measure::{History, Measured, measure};
use super::row::{Row, Target, median, ratios};
use super::suite::{Character, Language, Suite};
use crate::error::Error;

/// Fixed numbers of tests at once of which nextest's best is taken.
const JOBS: [u32; 4] = [4, 8, 16, 32];

/// The two ways in which pytest-xdist shares out tests; the first one is its default.
const DISTS: [&str; 2] = ["load", "worksteal"];

/// Cores that everything else on the host may use before a run is called noisy.
const QUIET_CORES: f64 = 0.1;

/// Rounds and tools of one benchmark run, and what it has gathered.
pub(crate) struct Bench {
    /// What the contenders need.
    pub tools: Tools,
    /// Rounds.
    pub runs: usize,
    /// Tests that failed for Cohort and not for the peer's default, one entry a test and run.
    pub new_failures: Vec<String>,
    /// Runs of Cohort behind [`Bench::new_failures`].
    pub cohort_runs: usize,
}

impl Bench {
    /// All rows of one suite.
    pub(crate) fn rows(&mut self, suite: &Suite) -> Result<Vec<Row>, Error> {
        match (suite.language, suite.character) {
            (Language::Rust, Character::Waiting) => self.rust_waiting(suite),
            (Language::Rust, Character::Dominant) => self.rust_dominant(suite),
            (Language::Rust, Character::Empty) => self.rust_default(suite, "per test", 1.1),
            (Language::Rust, _) => self.rust_default(suite, "first run", 1.02),
            (Language::Pytest, Character::Waiting) => self.pytest(suite, 0.7),
            (Language::Pytest, _) => self.pytest(suite, 1.0),
        }
    }

    fn rust_default(&mut self, suite: &Suite, what: &str, bound: f64) -> Result<Vec<Row>, Error> {
        let contenders = [Contender::cohort(), Contender::Nextest(None)];
        let [ours, theirs] = self.rounds(suite, &contenders, History::None)?;
        self.account(suite, &ours, &theirs);
        let row = format!("{}: {what} / nextest", suite.name);
        Ok(vec![ratio(row, &ours, &theirs, bound)])
    }

    fn rust_waiting(&mut self, suite: &Suite) -> Result<Vec<Row>, Error> {
        let mut best = (f64::INFINITY, JOBS[0]);
        for jobs in JOBS {
            let probe = self.once(&Contender::Nextest(Some(jobs)), suite, History::None)?;
            if probe.wall_s < best.0 {
                best = (probe.wall_s, jobs);
            }
        }
        let fixed = Contender::Nextest(Some(best.1));
        let name = fixed.name();
        let contenders = [Contender::cohort(), Contender::Nextest(None), fixed];
        let [ours, default, fixed] = self.rounds(suite, &contenders, History::None)?;
        self.account(suite, &ours, &default);
        Ok(vec![
            ratio(
                format!("{}: first run / nextest", suite.name),
                &ours,
                &default,
                0.5,
            ),
            ratio(
                format!("{}: first run / {name} (its best)", suite.name),
                &ours,
                &fixed,
                1.05,
            ),
        ])
    }

    /// The bound that no order can beat: the longest test alone, or all CPU on all cores.
    fn rust_dominant(&mut self, suite: &Suite) -> Result<Vec<Row>, Error> {
        let first = self.once(&Contender::cohort(), suite, History::None)?;
        let probe = self.once(&Contender::Nextest(None), suite, History::Kept)?;
        let slowest = probe
            .slowest()
            .map(|case| case.name.clone())
            .unwrap_or_default();
        let contenders = [
            Contender::cohort(),
            Contender::Nextest(None),
            Contender::NextestOnly(slowest),
        ];
        let [mut ours, theirs, alone] = self.rounds(suite, &contenders, History::Kept)?;
        let cores = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        let bounds: Vec<f64> = theirs
            .iter()
            .zip(&alone)
            .map(|(all, alone)| (all.cpu_s / cores).max(alone.slowest().map_or(0.0, |c| c.seconds)))
            .collect();
        let rows = vec![
            Row::new(
                format!(
                    "{}: second run / max(longest test, CPU / cores)",
                    suite.name
                ),
                "ratio",
                &ratios(&walls(&ours), &bounds),
                Target::AtMost(1.05),
            ),
            Row::new(
                format!("{}: second run / nextest", suite.name),
                "ratio",
                &ratios(&walls(&ours), &walls(&theirs)),
                Target::None,
            ),
        ];
        ours.push(first);
        self.account(suite, &ours, &theirs);
        Ok(rows)
    }

    /// Against the better of the two modes. With one dominant test it is the second run that counts.
    fn pytest(&mut self, suite: &Suite, bound: f64) -> Result<Vec<Row>, Error> {
        let (what, history) = match suite.character {
            Character::Dominant => ("second run", History::Kept),
            _ => ("first run", History::None),
        };
        let mut before = Vec::new();
        if history == History::Kept {
            before.push(self.once(&Contender::cohort(), suite, History::None)?);
        }
        let contenders = [
            Contender::cohort(),
            Contender::Xdist(DISTS[0]),
            Contender::Xdist(DISTS[1]),
        ];
        let [mut ours, load, worksteal] = self.rounds(suite, &contenders, history)?;
        let middle = |runs: &[Measured]| median(&walls(runs)).unwrap_or(f64::INFINITY);
        let (dist, better) = if middle(&load) <= middle(&worksteal) {
            (DISTS[0], &load)
        } else {
            (DISTS[1], &worksteal)
        };
        let row = format!("{}: {what} / xdist --dist {dist} (the better)", suite.name);
        let row = ratio(row, &ours, better, bound);
        ours.append(&mut before);
        self.account(suite, &ours, &load);
        Ok(vec![row])
    }

    fn once(
        &self,
        contender: &Contender,
        suite: &Suite,
        history: History,
    ) -> Result<Measured, Error> {
        let measured = measure(contender, suite, &self.tools, history)?;
        eprintln!(
            "  {:<22} {:>7.2} s  {:>7.2} s CPU  {:>5} tests  {} failed{}",
            contender.name(),
            measured.wall_s,
            measured.cpu_s,
            measured.ran(),
            measured.failed().len(),
            busy_host(contender, &measured)
        );
        Ok(measured)
    }

    /// Measurements by contender. The order turns by one each round, so that none always has the
    /// warmer machine.
    fn rounds<const N: usize>(
        &self,
        suite: &Suite,
        contenders: &[Contender; N],
        history: History,
    ) -> Result<[Vec<Measured>; N], Error> {
        let mut measured = [const { Vec::new() }; N];
        for round in 0..self.runs {
            for turn in 0..N {
                let which = (round + turn) % N;
                measured[which].push(self.once(&contenders[which], suite, history)?);
            }
        }
        Ok(measured)
    }

    /// Notes failures that only Cohort had, and tests that it did not run at all.
    fn account(&mut self, suite: &Suite, ours: &[Measured], theirs: &[Measured]) {
        let known = most_failures(theirs);
        let tests = theirs.iter().map(|run| run.cases.len()).max().unwrap_or(0);
        for run in ours {
            self.cohort_runs += 1;
            let new = junit::failures_beyond(&run.cases, &known);
            self.new_failures
                .extend(new.iter().map(|test| format!("{}: {test}", suite.name)));
            if run.cases.len() < tests {
                let counts = format!("{} tests instead of {tests}", run.cases.len());
                self.new_failures.push(format!("{}: {counts}", suite.name));
            }
        }
    }
}

/// Said of a peer's run during which others used more than [`QUIET_CORES`]. Not of Cohort's: CPU of
/// warm workers, which are not its children, would count as that of others.
fn busy_host(contender: &Contender, run: &Measured) -> String {
    let cores = run.others_cpu_s / run.wall_s;
    if matches!(contender, Contender::Cohort(_)) || cores <= QUIET_CORES {
        return String::new();
    }
    format!("  (not quiet: others used {cores:.2} cores)")
}

/// Names of tests that failed in any of the runs, each as often as in the run where most of that
/// name failed.
fn most_failures(runs: &[Measured]) -> Vec<String> {
    let mut most: Vec<String> = Vec::new();
    for run in runs {
        let mut spare = most.clone();
        for name in run.failed() {
            match spare.iter().position(|known| *known == name) {
                Some(at) => drop(spare.swap_remove(at)),
                None => most.push(name),
            }
        }
    }
    most
}

fn walls(runs: &[Measured]) -> Vec<f64> {
    runs.iter().map(|run| run.wall_s).collect()
}

fn ratio(row: String, ours: &[Measured], theirs: &[Measured], bound: f64) -> Row {
    Row::new(
        row,
        "ratio",
        &ratios(&walls(ours), &walls(theirs)),
        Target::AtMost(bound),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(failed: &[&str]) -> Measured {
        let case = |name: &&str| junit::Case {
            name: (*name).into(),
            seconds: 0.0,
            failed: true,
            skipped: false,
        };
        Measured {
            wall_s: 1.0,
            cpu_s: 1.0,
            others_cpu_s: 0.0,
            cases: failed.iter().map(case).collect(),
        }
    }

    #[test]
    fn known_failures_are_the_most_of_any_run() {
        let runs = [run(&["a"]), run(&["b", "a", "a"]), run(&["a"])];
        let mut most = most_failures(&runs);
        most.sort();
        assert_eq!(most, ["a", "a", "b"]);
    }

    #[test]
    fn a_test_that_cohort_never_ran_counts_as_a_failure() {
        let tools = Tools {
            cohort: "cohort".into(),
            python_bin: None,
            work: ".".into(),
        };
        let mut bench = Bench {
            tools,
            runs: 1,
            new_failures: Vec::new(),
            cohort_runs: 0,
        };
        let suite = Suite {
            name: "s".into(),
            language: Language::Rust,
            character: Character::Waiting,
            dir: ".".into(),
            args: Vec::new(),
            tests: 0,
            python_path: String::new(),
        };
        bench.account(
            &suite,
            &[run(&["a", "c"]), run(&["a"])],
            &[run(&["a", "b"])],
        );
        assert_eq!(bench.new_failures, ["s: c", "s: 1 tests instead of 2"]);
        assert_eq!(bench.cohort_runs, 2);
    }
}
