//! A seat inside an instance: the user's shell where an edge case fails.
//!
//! ```text
//!   tests found -> instance made, squeezed as the recipe has it -> [sh: enters the group; the shell]
//!                                                                    `- again: the test, once, as the recipe has it
//!   the shell ends -> all that is left of the instance ends -> removed
//! ```
//!
//! The shell itself is under the limits of the group and has the variables of the recipe; what is done
//! by tracing (delays, disturbance, copies) is done to the test, by the command `again`.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::{fs, io};

use cohort_model::{Allotment, CaseWork, Condition, InstanceId, Recipe, TestId};
use cohort_workload::Launch;

use crate::discover::{self, Discovered};
use crate::recipe_run::{RecipeRun, squeeze_of};
use crate::{Error, Setup, runtime};

/// Enters the groups that are named before `--`, and becomes what is named behind it.
pub(crate) const ENTER: &str =
    "while [ \"$1\" != -- ]; do echo 0 > \"$1\" || exit 125; shift; done; shift; exec \"$@\"";
/// Its number in its campaign; no other one is made.
const SEAT: InstanceId = InstanceId(1_000_000);
/// The command that runs the test, found along the shell's `PATH`.
const AGAIN: &str = "again";

/// What the user's shell is to be.
pub struct Seat {
    /// The program.
    pub shell: PathBuf,
    /// Called when all is ready, with what can be typed.
    pub ready: Box<dyn FnOnce(&Seated)>,
}

/// What can be typed.
#[derive(Clone, Debug)]
pub struct Seated {
    /// Runs the test once, as the recipe has it.
    pub again: String,
    /// What that is: program and arguments.
    pub command: Vec<OsString>,
    /// Its own scratch directory, which is `TMPDIR`.
    pub scratch: PathBuf,
    /// Where it runs.
    pub directory: PathBuf,
    /// Limits of the recipe that this host could not set on the shell.
    pub unapplied: Vec<cohort_model::ConditionKind>,
}

/// Finds the tests as for a campaign whose work is [`crate::Work::Repeat`], and leaves the user in an
/// instance of that recipe until the shell ends. Nothing is recorded, and nothing is left.
///
/// # Errors
/// As [`crate::run`], or the shell cannot be started.
pub fn sit(setup: Setup, seat: Seat) -> Result<(ExitStatus, Vec<String>), Error> {
    runtime()?.block_on(async move {
        let mut discovered = discover::discover(setup, false).await?;
        let sat = seated(&mut discovered, seat).await;
        let left = discovered.ground.clear(discovered.instances, Vec::new());
        let left = left.await;
        Ok((sat?, left))
    })
}

async fn seated(discovered: &mut Discovered, seat: Seat) -> Result<ExitStatus, Error> {
    let only = discovered
        .plan
        .cases
        .as_ref()
        .and_then(|cases| cases.only.clone());
    let Some(CaseWork::Repeat { test, recipe, .. }) = only else {
        return Err(Error::Host {
            what: "open a shell for a case".to_owned(),
            source: io::Error::other("no recipe was given"),
        });
    };
    let allotment = Allotment {
        cpu_weight: 100,
        memory: discovered.budget.memory,
    };
    let mut instance = discovered.ground.open(SEAT, &allotment, false)?;
    let entered = instance.enter(SEAT, &discovered.events).await;
    let unapplied = instance.squeeze(squeeze_of(&recipe, &discovered.ground));
    let scratch = instance.scratch.clone();
    discovered.instances.insert(SEAT, instance);
    let groups = entered?;
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| Error::Host { what, source }
    };
    let place = Place {
        discovered,
        test,
        recipe: &recipe,
        scratch: &scratch,
    };
    let (launch, bin) = place
        .prepare()
        .map_err(failed("write what runs the test"))?;
    let mut command = place.shell(&seat.shell, &launch, (&groups, &bin));
    (seat.ready)(&Seated {
        again: AGAIN.to_owned(),
        command: std::iter::once(launch.program.clone().into_os_string())
            .chain(launch.args.iter().cloned())
            .collect(),
        scratch: scratch.clone(),
        directory: launch.cwd.clone(),
        unapplied,
    });
    // Whoever presses Ctrl-C means what runs in the shell.
    let shell = tokio::task::spawn_blocking(move || command.status());
    let status = shell.await.map_err(|error| Error::Host {
        what: "wait for the shell".to_owned(),
        source: error.into(),
    })?;
    status.map_err(failed(&format!("start {}", seat.shell.display())))
}

/// Where the shell is.
struct Place<'a> {
    discovered: &'a Discovered,
    test: TestId,
    recipe: &'a Recipe,
    scratch: &'a Path,
}

impl Place<'_> {
    /// How the test is run, and the directory of the command that runs it: each time with files of its
    /// own.
    fn prepare(&self) -> io::Result<(Launch, PathBuf)> {
        let shared = &self.discovered.ground.shared;
        let bin = shared.join("bin");
        fs::DirBuilder::new().mode(0o700).create(&bin)?;
        let directory = shared.join("again");
        let run = RecipeRun {
            runner: &self.discovered.runner,
            ground: &self.discovered.ground,
            test: self.test,
            recipe: self.recipe,
            scratch: self.scratch,
            worker: 0,
            plain: true,
            batch: None,
            limit_us: None,
            directory: &directory,
        };
        let (launch, _) = run.launch(None)?;
        let mut script = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o700)
            .open(bin.join(AGAIN))?;
        script.write_all(&again(&launch))?;
        Ok((launch, bin))
    }

    fn shell(&self, shell: &Path, launch: &Launch, (groups, bin): (&[PathBuf], &Path)) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", ENTER, "sh"])
            .args(groups)
            .arg("--")
            .arg(shell);
        command.env_clear().envs(launch.env.iter().cloned());
        // Of the user's own, what a shell is no shell without.
        for name in [
            "TERM",
            "HOME",
            "USER",
            "COLORTERM",
            "LESS",
            "PAGER",
            "EDITOR",
        ] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for condition in &self.recipe.conditions {
            match condition {
                Condition::Variable {
                    name,
                    value: Some(value),
                } => command.env(name, value),
                Condition::Variable { name, value: None } => command.env_remove(name),
                Condition::TimeZone { name } => command.env("TZ", name),
                Condition::Locale { name } => command.env("LC_ALL", name),
                _ => &mut command,
            };
        }
        let usual = launch.env.iter().find(|(name, _)| name == "PATH");
        let mut path = bin.as_os_str().to_owned();
        if let Some((_, usual)) = usual {
            path.push(":");
            path.push(usual);
        }
        command.env("PATH", path).env("TMPDIR", self.scratch);
        command.current_dir(&launch.cwd);
        command
    }
}

/// A script that runs `launch` with its own environment, whatever became of the shell's.
fn again(launch: &Launch) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let mut text = b"#!/bin/sh\ncd ".to_vec();
    text.extend(quoted(launch.cwd.as_os_str().as_bytes()));
    text.extend_from_slice(b" || exit 125\nexec ");
    let words = std::iter::once(launch.program.as_os_str().as_bytes())
        .chain(launch.args.iter().map(|word| word.as_bytes()));
    let words: Vec<Vec<u8>> = words.map(quoted).collect();
    text.extend(words.join(&b' '));
    text.push(b'\n');
    text
}

/// A word as a shell takes it for itself (POSIX, "single-quotes").
fn quoted(word: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in word {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one() {
        assert_eq!(quoted(b"a b"), b"'a b'");
        assert_eq!(quoted(b"it's"), b"'it'\\''s'");
    }

    #[test]
    fn again_runs_in_its_directory() {
        let launch = Launch {
            program: "/bin/true".into(),
            args: vec!["a b".into(), "$HOME".into()],
            env: std::sync::Arc::from([]),
            cwd: "/a dir".into(),
        };
        let text = String::from_utf8(again(&launch)).unwrap();
        assert_eq!(
            text,
            "#!/bin/sh\ncd '/a dir' || exit 125\nexec '/bin/true' 'a b' '$HOME'\n"
        );
    }
}
