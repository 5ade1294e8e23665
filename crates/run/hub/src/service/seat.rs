//! A seat beside a server that runs as an edge case has it: the user's shell, and a command that plays the case.
//!
//! ```text
//!   file of the case ─▶ player      server, under the conditions of the case ─▶ ready
//!                                   [sh: enters its groups and its network; the shell]
//!                                      `- again: asks (a file) ─▶ one play ─▶ what came of it (a file)
//!   the shell ends ─▶ the server ends ─▶ removed
//! ```
//!
//! The server goes on between plays, so that it can be looked at.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::{fs, io};

use cohort_model::{Case, CaseRequest, ConditionKind, Played, ServiceCommand};
use tokio::sync::mpsc::Receiver;

use super::event::Event;
use super::place::Place;
use super::repeat::{INSTANCE, ServiceRepeat, command, shows};
use super::shell::{Hub, Phase};
use super::typed::script;
use super::{ServiceSetup, open};
use crate::Error;
use crate::seat::ENTER;

/// The command that plays the case, found along the shell's `PATH`.
const AGAIN: &str = "again";
/// Asks for a play, and shows what came of it: both by files in the directory of the seat.
const ASK: &str = r#"#!/bin/sh
rm -f "$COHORT_SEAT/told" && mkdir "$COHORT_SEAT/asked" || { echo "a play is under way"; exit 1; }
until [ -f "$COHORT_SEAT/told" ]; do sleep 0.05; done
cat "$COHORT_SEAT/told"
"#;

/// What the user's shell is to be.
pub struct ServiceSeat {
    /// The program.
    pub shell: PathBuf,
    /// The case, for the requests as they can be typed.
    pub case: Case,
    /// Called when all is ready, with what can be typed.
    pub ready: Box<dyn FnOnce(&ServiceSeated)>,
}

/// What can be typed.
#[derive(Clone, Debug)]
pub struct ServiceSeated {
    /// Plays the case once.
    pub again: String,
    /// Where the server is reached; `BASE` in the shell.
    pub url: String,
    /// Its first process.
    pub pid: Option<i32>,
    /// The requests as a script of curl lines.
    pub script: PathBuf,
    /// What the server wrote.
    pub logs: PathBuf,
    /// Conditions of the case that this host could not set.
    pub unapplied: Vec<ConditionKind>,
}

/// Starts the server as a case has it, and leaves the user in a shell beside it until that ends. Nothing is recorded, and nothing
/// is left.
///
/// # Errors
/// As [`super::repeat()`], or the shell cannot be started.
pub fn sit(
    setup: ServiceSetup,
    repeat: &ServiceRepeat,
    seat: ServiceSeat,
) -> Result<(Option<ExitStatus>, Vec<String>), Error> {
    crate::runtime()?.block_on(async move {
        let (mut hub, mut happened) = open::hub(setup, |_| Vec::new()).await?;
        hub.phase = Phase::Closing;
        let sat = hub.sit(repeat, seat, &mut happened).await;
        let directory = hub.campaign.path().to_owned();
        let left = hub.end_quietly().await;
        let _ = fs::remove_dir_all(directory);
        Ok((sat?, left))
    })
}

impl Hub {
    /// The shell's end; `None` when the user ended it before there was one.
    async fn sit(
        &mut self,
        repeat: &ServiceRepeat,
        seat: ServiceSeat,
        happened: &mut Receiver<Event>,
    ) -> Result<Option<ExitStatus>, Error> {
        let Some(requests) = self.prepare(repeat, happened).await? else {
            return Ok(None);
        };
        let mut unapplied = Vec::new();
        if !repeat.recipe.conditions.is_empty() {
            unapplied = self.begin_under(INSTANCE, &repeat.recipe, "");
            if self.until_ready(happened).await?.is_none() {
                return Ok(None);
            }
        }
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source| Error::Host { what, source }
        };
        let (mut shell, seated) = self
            .place(&requests, &seat, unapplied)
            .await
            .map_err(failed("write what plays the case"))?;
        (seat.ready)(&seated);
        // Whoever presses Ctrl-C means what runs in the shell.
        let mut shell = tokio::task::spawn_blocking(move || shell.status());
        let directory = self.seat();
        let mut play = 0;
        loop {
            tokio::select! {
                ended = &mut shell => {
                    let ended = ended.map_err(|error| Error::Host {
                        what: "wait for the shell".to_owned(),
                        source: error.into(),
                    })?;
                    let what = format!("start {}", seat.shell.display());
                    return Ok(Some(ended.map_err(failed(&what))?));
                }
                () = self.pump(happened) => self.seen.clear(),
            }
            if directory.join("asked").exists() {
                let told = self.play_once(repeat, play, &requests, happened).await?;
                play += 1;
                answer(&directory, &told).map_err(failed("write what came of a play"))?;
            }
        }
    }

    /// Where the shell and its commands meet.
    fn seat(&self) -> PathBuf {
        self.campaign.path().join("seat")
    }

    /// One play; gives what came of it, in words.
    async fn play_once(
        &mut self,
        repeat: &ServiceRepeat,
        play: u32,
        requests: &[CaseRequest],
        happened: &mut Receiver<Event>,
    ) -> Result<String, Error> {
        let gauge = repeat.gauge()?;
        let mut order = command(repeat, &gauge, play, requests);
        let is_up = self.places.get(&INSTANCE).is_some_and(Place::is_ready);
        if let ServiceCommand::TryCase { fresh, .. } = &mut order {
            // It goes on as the user has left it, if it goes on.
            *fresh = !is_up;
        }
        self.carry_out(order).await;
        let played = loop {
            if let Some(played) = self.until_tried(play, happened).await? {
                break played;
            }
            self.carry_out(ServiceCommand::EndPlay { play }).await;
        };
        let is_it = shows(repeat, &gauge, requests, &played);
        Ok(told(&played, is_it))
    }

    /// What the shell needs, and the shell.
    async fn place(
        &self,
        requests: &[CaseRequest],
        seat: &ServiceSeat,
        unapplied: Vec<ConditionKind>,
    ) -> io::Result<(Command, ServiceSeated)> {
        let gone = || io::Error::other("its instance is gone");
        let instance = self.ground.get(INSTANCE).ok_or_else(gone)?;
        let status = instance.status();
        let address = status.address.ok_or_else(gone)?;
        let scheme = if self.setup.sut.tls { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let directory = self.seat();
        let bin = directory.join("bin");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&bin)?;
        let write = |path: &Path, text: &str| {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o700)
                .open(path)?;
            file.write_all(text.as_bytes())
        };
        write(&bin.join(AGAIN), ASK)?;
        let typed = directory.join("requests.sh");
        write(&typed, &script(&seat.case, requests, &url))?;
        let groups = match instance.reader().await {
            Ok((_, groups)) => groups,
            Err(error) => return Err(io::Error::other(error.to_string())),
        };
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", ENTER, "sh"]);
        shell.args(groups.iter().map(|group| group.join("cgroup.procs")));
        shell.arg("--");
        if let (true, Some(pid)) = (self.ground.isolates_network(), status.pid) {
            shell.arg("nsenter");
            shell.arg(format!("--net=/proc/{pid}/ns/net")).arg("--");
        }
        shell.arg(&seat.shell);
        shell.envs(self.surroundings(&bin));
        shell.env("BASE", &url).env("COHORT_SEAT", &directory);
        shell.env("TMPDIR", instance.scratch());
        shell.current_dir(&self.setup.sut.directory);
        let seated = ServiceSeated {
            again: AGAIN.to_owned(),
            url,
            pid: status.pid,
            script: typed,
            logs: self.campaign.path().join("logs"),
            unapplied,
        };
        Ok((shell, seated))
    }

    /// Variables of the server, and where `again` is found.
    fn surroundings(&self, bin: &Path) -> Vec<(OsString, OsString)> {
        let own = self.setup.sut.env.iter();
        // What stands for something that each instance has is told otherwise.
        let own = own.filter(|(_, value)| !value.contains('{'));
        let mut all: Vec<(OsString, OsString)> = own
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let mut path = bin.as_os_str().to_owned();
        path.push(":");
        path.push(usual);
        all.push(("PATH".into(), path));
        all
    }
}

/// The file that `again` waits for: it is whole or not there.
fn answer(directory: &Path, told: &str) -> io::Result<()> {
    let new = directory.join("told.new");
    fs::write(&new, told)?;
    fs::remove_dir(directory.join("asked"))?;
    fs::rename(new, directory.join("told"))
}

/// What came of a play.
fn told(played: &Played, is_it: bool) -> String {
    if !played.void.is_empty() {
        return format!("it says nothing: {}\n", played.void);
    }
    let mut text = match is_it {
        true => "it failed again\n".to_owned(),
        false => "it did not fail\n".to_owned(),
    };
    for (endpoint, symptom) in &played.odd {
        let what = [symptom.class.as_str(), symptom.message.as_str()].join(" ");
        // What no call is known of is what it wrote.
        let where_seen = match endpoint.as_str() {
            "" => "its log",
            endpoint => endpoint,
        };
        text.push_str(&format!("  {where_seen}: {}\n", what.trim()));
    }
    for kind in &played.missing {
        text.push_str(&format!("  without its condition ({kind:?})\n"));
    }
    text
}
