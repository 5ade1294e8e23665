//! An instance: one process of an engine, in a control group of its own where that is permitted.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cohort_host::cgroup::InstanceGroup;

use crate::afl::Afl;
use crate::supervise::Setup;
use crate::work::Plan;
use crate::{Engine, Target};

/// End of the log of libFuzzer that is looked at, bytes.
const LOG_END: usize = 4096;

/// One engine that runs.
pub(crate) struct Instance {
    plan: Plan,
    child: Child,
    group: Option<InstanceGroup>,
    log: PathBuf,
    afl: Option<Afl>,
    /// Of those processes of it that have ended.
    runs_before: u64,
}

impl Instance {
    /// Starts the engine of the plan's target.
    pub(crate) fn start(
        plan: Plan,
        group: Option<InstanceGroup>,
        setup: &Setup<'_>,
    ) -> io::Result<Self> {
        fs::create_dir_all(&plan.scratch)?;
        let log = plan.scratch.with_extension("log");
        let afl = (plan.target.engine == Engine::Afl).then(|| Afl::new(&plan));
        let child = spawn(
            &plan,
            (&log, afl.as_ref(), group.is_some()),
            setup.executable,
        )?;
        let mut instance = Self {
            plan,
            child,
            group,
            log,
            afl,
            runs_before: 0,
        };
        instance.enter();
        Ok(instance)
    }

    /// It is let go on once it is where its children shall be.
    fn enter(&mut self) {
        let pid = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        if let Some(group) = &self.group {
            // One that has ended already needs no group.
            let _ = group.enter(pid);
        }
        drop(self.child.stdin.take());
    }

    /// Whether the engine still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What the target is called.
    pub(crate) fn target(&self) -> &Target {
        &self.plan.target
    }

    /// An engine that ends at the first bug goes on with other random numbers.
    pub(crate) fn again(&mut self, left_ms: u64, setup: &Setup<'_>) -> io::Result<()> {
        self.gather();
        // AFL++ goes on counting.
        if self.afl.is_none() {
            self.runs_before = self.stand().0;
        }
        self.plan.seed = self.plan.seed.wrapping_add(7919);
        self.plan.time_ms = left_ms;
        let log = (self.log.as_path(), self.afl.as_ref(), self.group.is_some());
        self.child = spawn(&self.plan, log, setup.executable)?;
        self.enter();
        Ok(())
    }

    /// Executions, and inputs that are kept.
    pub(crate) fn stand(&self) -> (u64, u64) {
        let (runs, kept) = match self.plan.target.engine {
            Engine::Own => {
                let text = fs::read_to_string(&self.plan.stand).unwrap_or_default();
                let mut numbers = text.split(' ').map(|word| word.parse().unwrap_or(0));
                (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
            }
            Engine::LibFuzzer => of_log(&end_of(&self.log)),
            Engine::Afl => self.afl.as_ref().map_or((0, 0), Afl::stand),
        };
        (self.runs_before + runs, kept)
    }

    /// What the engine keeps in a place of its own is put where all instances have it.
    pub(crate) fn gather(&mut self) {
        if let Some(afl) = &mut self.afl {
            afl.gather();
        }
    }

    /// What the engine wrote last.
    pub(crate) fn said(&self) -> String {
        end_of(&self.log)
    }

    /// Ends it with all of its processes.
    pub(crate) fn end(mut self) {
        // Without a group these would go on.
        let pid = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        let inside = cohort_host::process::descendants(Path::new("/"), pid);
        let _ = self.child.kill();
        for pid in inside {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        if let Some(group) = self.group.take() {
            group.kill_all(&[]);
            let _ = self.child.wait();
            let _ = group.remove();
        }
        let _ = self.child.wait();
    }
}

fn spawn(
    plan: &Plan,
    (log, afl, grouped): (&Path, Option<&Afl>, bool),
    executable: &Path,
) -> io::Result<Child> {
    let output = File::create(log)?;
    let mut command = match (plan.target.engine, afl) {
        (_, Some(afl)) => afl.command(plan, grouped)?,
        (Engine::LibFuzzer, None) => lib_fuzzer(plan),
        (Engine::Own | Engine::Afl, None) => {
            let file = plan.scratch.with_extension("plan");
            fs::write(&file, serde_json::to_vec(plan)?)?;
            let mut command = Command::new(executable);
            command.arg("harness").arg(&file);
            command
        }
    };
    command
        .current_dir(&plan.target.directory)
        .envs(&plan.target.env)
        .env("TMPDIR", &plan.scratch)
        .stdin(match plan.target.engine {
            Engine::Own => Stdio::piped(),
            Engine::LibFuzzer | Engine::Afl => Stdio::null(),
        })
        .stdout(match plan.target.engine {
            // It says there why it does not begin.
            Engine::Afl => Stdio::from(output.try_clone()?),
            Engine::Own | Engine::LibFuzzer => Stdio::null(),
        })
        .stderr(output)
        .spawn()
}

/// <https://llvm.org/docs/LibFuzzer.html>
fn lib_fuzzer(plan: &Plan) -> Command {
    let target = &plan.target;
    let mut command = Command::new(target.program());
    let own = target
        .command
        .iter()
        .skip(1)
        .filter(|word| !word.contains("{input}"));
    command
        .args(own)
        .arg(format!(
            "-artifact_prefix={}/",
            plan.shared.join("crashes").display()
        ))
        .arg(format!("-max_total_time={}", plan.time_ms.div_ceil(1000)))
        .arg(format!("-timeout={}", plan.limits.time_ms.div_ceil(1000)))
        .arg(format!("-rss_limit_mb={}", plan.limits.memory >> 20))
        .arg(format!("-max_len={}", plan.longest))
        .arg(format!("-seed={}", plan.seed as u32))
        .args(["-reload=1", "-print_final_stats=1"]);
    if plan.seed % 2 == 1 {
        command.arg("-use_value_profile=1");
    }
    if let Some(dictionary) = &target.dictionary {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    command
        .arg(plan.shared.join("corpus"))
        .args(target.seeds.iter().filter(|place| place.is_dir()));
    command
}

fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_END)..]).into_owned()
}

/// `#1234 NEW cov: 5 ft: 6 corp: 7/8b ...`, the last such line, or the statistics at its end.
fn of_log(text: &str) -> (u64, u64) {
    let mut stand = (0, 0);
    for line in text.lines() {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            stand.0 = count.trim().parse().unwrap_or(stand.0);
        }
        let Some(rest) = line.strip_prefix('#') else {
            continue;
        };
        let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next();
        stand.0 = digits
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(stand.0);
        let kept = rest
            .split("corp: ")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        stand.1 = kept.and_then(|kept| kept.parse().ok()).unwrap_or(stand.1);
    }
    stand
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_log_of_libfuzzer_tells_where_it_stands() {
        let log = "INFO: Seed: 1\n#2\tINITED cov: 2 ft: 2 corp: 1/1b exec/s: 0 rss: 26Mb\n#1024\tpulse  cov: 4 ft: 5 \
                   corp: 3/9b lim: 4 exec/s: 512 rss: 30Mb\n==1== ERROR: libFuzzer: deadly signal\n";
        assert_eq!(super::of_log(log), (1024, 3));
        let end = format!("{log}stat::number_of_executed_units: 2000\n");
        assert_eq!(super::of_log(&end), (2000, 3));
        assert_eq!(super::of_log(""), (0, 0));
    }
}
