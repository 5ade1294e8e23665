//! Helpers, as the hub sends them out: one task each, from its start until nothing of it is left.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use cohort_helper::reading::Found;
use cohort_helper::{Manifest, Runtime, Values, fill, missing, reading};
use cohort_host::chain;
use cohort_host::init::Ended;
use cohort_host::process::{descendants, stat};
use cohort_model::{HelperEnding, HelperPlan, HelperTold, InstanceId, ServiceSeen};
use cohort_scan::Plan;
use cohort_service::{Errand, Helper, Helpers};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::calm::calmly;
use super::event::{Event, Events};
use super::profiles::{self, Look};
use super::reference::Wells;
use super::scan::ServiceScan;
use super::shell::Hub;

/// Between two looks at what a helper uses.
const LOOK: Duration = Duration::from_secs(1);
/// It may use so much more CPU than it is expected to before the kernel holds it back.
const CORES_FACTOR: f64 = 4.0;
/// And so much in any case: a helper that is held back holds what it traces.
const CORES_LEAST: f64 = 0.5;
/// What it takes to clean up at most.
const CLEAN_UP: Duration = Duration::from_secs(10);
/// Lines of its complaints that are told.
const LINES_MAX: usize = 3;
/// Directory of all helpers in the campaign's.
const HELPERS: &str = "helpers";
/// What a helper printed.
const OUTPUT: &str = "output.txt";
/// What a scanner is told.
const PLAN: &str = "plan.json";
/// What is done beside an instance that is well is waited for so long at most, when the other is done.
const REFERENCE_WITHIN: Duration = Duration::from_secs(10);

/// Helpers that a campaign may deploy.
#[derive(Clone, Debug)]
pub struct ServiceHelpers {
    /// All that may be deployed, in the order in which they are asked.
    pub manifests: Vec<Manifest>,
    /// Where their programs are looked up: a `PATH`.
    pub path: OsString,
    /// CPU that all together may use, cores.
    pub cores: f64,
    /// Rest between two deployments of one to one instance, microseconds.
    pub rest_us: u64,
    /// What the one that looks for weaknesses is told; none: it is not deployed.
    pub scan: Option<ServiceScan>,
}

impl ServiceHelpers {
    pub(crate) fn plan(&self) -> HelperPlan {
        HelperPlan {
            offers: self.manifests.iter().map(Manifest::offer).collect(),
            cores: self.cores,
            rest_us: self.rest_us,
        }
    }
}

/// Helpers that are out.
#[derive(Debug, Default)]
pub(crate) struct Out {
    stops: BTreeMap<u32, oneshot::Sender<()>>,
    tasks: JoinSet<Vec<String>>,
    wells: Wells,
}

impl Hub {
    /// Sends one out, to an instance and to another that is well, where there is one.
    pub(crate) fn deploy(
        &mut self,
        deployment: u32,
        name: &str,
        (instance, reference): (InstanceId, Option<InstanceId>),
    ) {
        let helpers = self.setup.helpers.as_ref();
        let path = helpers.map_or_else(OsString::new, |it| it.path.clone());
        let mut manifests = helpers.into_iter().flat_map(|it| &it.manifests);
        let manifest = manifests.find(|it| it.name == name).cloned();
        let target = self.server(instance);
        let (Some(manifest), Some((pid, address))) = (manifest, target) else {
            let why = "its instance does not run any more".to_owned();
            return self.tell(failed(deployment, why));
        };
        // It comes once, whatever its number.
        let out = match manifest.scans() {
            true => name.to_owned(),
            false => format!("{deployment}-{name}"),
        };
        let directory = self.campaign.path().join(HELPERS).join(&out);
        let reference = reference.and_then(|it| Some((it, self.server(it)?)));
        let visit = Visit {
            deployment,
            instance,
            pid,
            address: (address.ip().to_string(), address.port()),
            plan: manifest.scans().then(|| self.scan_plan(pid, address)),
            path,
            cohort: self.setup.executable.display().to_string(),
            directory,
            shown: Path::new(HELPERS).join(out),
            manifest,
            wells: self.out.wells.clone(),
            events: self.events.clone(),
        };
        let reference = reference.map(|it| visit.at(it));
        let (stop, stopped) = oneshot::channel();
        self.out.stops.insert(deployment, stop);
        self.out
            .tasks
            .spawn(visit.run(reference, self.ground.helpers(), stopped));
    }

    /// The process of an instance's server that does the work, and where it listens; `None` when it does not run.
    fn server(&self, instance: InstanceId) -> Option<(i32, SocketAddr)> {
        let server = self.ground.get(instance)?.status();
        Some((busiest(server.pid?), server.address?))
    }

    pub(crate) fn withdraw(&mut self, deployment: u32) {
        // Dropped, it is told to end.
        self.out.stops.remove(&deployment);
    }

    /// Ends all helpers; gives what could not be removed of them, in words.
    pub(crate) async fn withdraw_all(&mut self) -> Vec<String> {
        self.out.stops.clear();
        let mut left = Vec::new();
        while let Some(ended) = self.out.tasks.join_next().await {
            left.extend(ended.unwrap_or_default());
        }
        left
    }
}

/// Of a server's processes the one that has used most CPU: it may be started by a shell.
fn busiest(pid: i32) -> i32 {
    let root = Path::new("/");
    let all = [pid].into_iter().chain(descendants(root, pid));
    let used = |pid: &i32| stat(root, *pid).map_or(0, |it| it.cpu_ticks);
    all.max_by_key(used).unwrap_or(pid)
}

fn failed(deployment: u32, why: String) -> ServiceSeen {
    ServiceSeen::HelperEnded {
        deployment,
        ending: HelperEnding::Failed { why },
        told: Vec::new(),
        artifacts: Vec::new(),
    }
}

/// File name of the program that a process is.
fn program(pid: i32) -> String {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = program.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// What a command printed, understood.
#[derive(Default)]
struct Read {
    found: Found,
    /// File name of what it looked at.
    program: String,
}

/// One deployment.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) deployment: u32,
    pub(super) instance: InstanceId,
    pub(super) pid: i32,
    pub(super) address: (String, u16),
    /// Of its own, in the campaign's.
    pub(super) directory: PathBuf,
    /// The same, relative to the campaign's.
    pub(super) shown: PathBuf,
    pub(super) manifest: Manifest,
    /// What it is told beside its command, where it looks for weaknesses.
    plan: Option<Plan>,
    /// This very program.
    cohort: String,
    /// Where its programs are looked up.
    path: OsString,
    /// What was seen of instances that were well.
    pub(super) wells: Wells,
    events: Events,
}

impl Visit {
    async fn run(
        self,
        reference: Option<Visit>,
        helpers: Helpers,
        mut stopped: oneshot::Receiver<()>,
    ) -> Vec<String> {
        if let Err(ending) = self.fits() {
            self.tell(self.ended(ending, Vec::new())).await;
            return Vec::new();
        }
        let begun = match self.errand(&self.manifest.command) {
            Ok(errand) => helpers.start(errand).await.map_err(|error| chain(&error)),
            Err(error) => Err(error),
        };
        let mut helper = match begun {
            Ok(helper) => helper,
            Err(why) => {
                self.tell(failed(self.deployment, why)).await;
                return Vec::new();
            }
        };
        let deployment = self.deployment;
        self.tell(ServiceSeen::HelperStarted { deployment }).await;
        let began = SystemTime::now();
        let (stop, stopped_too) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let own = async {
            let ended = self.watch(&mut helper, &mut stopped).await;
            let lasted = began.elapsed().unwrap_or_default();
            let left = helper.end().await;
            if matches!(&ended, Some(Ok(ended)) if ended.exit_code == Some(0)) {
                tokio::select! {
                    _ = is_done => {}
                    _ = &mut stopped => {}
                    () = tokio::time::sleep(REFERENCE_WITHIN) => {}
                }
            }
            drop(stop);
            (ended, left, Look { began, lasted })
        };
        let other = async {
            let looked = match &reference {
                Some(reference) => reference.look(&helpers, stopped_too).await,
                None => (None, Vec::new()),
            };
            // Who does not listen any more has ended it.
            let _ = done.send(());
            looked
        };
        let ((ended, mut left, look), (beside, left_beside)) = tokio::join!(own, other);
        left.extend(left_beside);
        left.extend(self.clean_up(&helpers).await);
        if let Some(reference) = &reference {
            let _ = std::fs::remove_dir_all(&reference.directory);
        }
        if let Some(ended) = ended {
            self.conclude((ended, look), reference.zip(beside)).await;
        }
        left
    }

    /// Reads what it printed, and tells it.
    async fn conclude(self, own: (Result<Ended, String>, Look), beside: Option<(Visit, String)>) {
        let events = self.events.clone();
        let deployment = self.deployment;
        let seen = calmly("reads-helper", move || {
            self.understood(&own, beside.as_ref())
        })
        .await;
        let why = || "its output could not be read".to_owned();
        let seen = seen.unwrap_or_else(|| failed(deployment, why()));
        // A hub that is gone needs to hear nothing.
        let _ = events.send(Event::Helper(seen)).await;
    }

    fn understood(
        &self,
        (ended, look): &(Result<Ended, String>, Look),
        beside: Option<&(Visit, String)>,
    ) -> ServiceSeen {
        let (ending, Read { found, program }) = self.read(ended, *look);
        let mut told = found.told;
        if let Some(profile) = found.profile.filter(|_| self.manifest.compares) {
            told.extend(self.compared((&profile, &program), beside));
        }
        self.ended(ending, told)
    }

    pub(super) fn fits(&self) -> Result<(), HelperEnding> {
        let Some(runs) = Runtime::of(self.pid) else {
            let why = format!("process {} is gone", self.pid);
            return Err(HelperEnding::Failed { why });
        };
        let wanted = &self.manifest.runtimes;
        if !wanted.is_empty() && !wanted.contains(&runs) {
            return Err(HelperEnding::Unfit);
        }
        match missing(&self.manifest, &self.path) {
            lacks if lacks.is_empty() => Ok(()),
            lacks => Err(HelperEnding::Missing { lacks }),
        }
    }

    pub(super) fn errand(&self, command: &[String]) -> Result<Errand, String> {
        let made = std::fs::create_dir_all(&self.directory);
        made.map_err(|error| format!("create {}: {error}", self.directory.display()))?;
        if let Some(plan) = &self.plan {
            let path = self.directory.join(PLAN);
            plan.write(&path)
                .map_err(|error| format!("write {}: {error}", path.display()))?;
        }
        let manifest = &self.manifest;
        let values = Values {
            pid: self.pid,
            host: self.address.0.clone(),
            port: self.address.1,
            out: self.directory.display().to_string(),
            seconds: manifest.looks_us.div_ceil(1_000_000),
        };
        let command = command.iter();
        Ok(Errand {
            deployment: self.deployment,
            instance: self.instance,
            command: command
                .map(|word| fill(word, &values).replace("{cohort}", &self.cohort))
                .collect(),
            directory: self.directory.clone(),
            path: self.path.clone(),
            network_of: Some(self.pid),
            cores: (manifest.cores * CORES_FACTOR).max(CORES_LEAST),
            memory: manifest.memory,
            output: manifest.output,
        })
    }

    /// Removes what it may have left on the host; gives why that is not certain, in words.
    pub(super) async fn clean_up(&self, helpers: &Helpers) -> Option<String> {
        if self.manifest.cleanup.is_empty() {
            return None;
        }
        let errand = self.errand(&self.manifest.cleanup).map(|it| Errand {
            // The server may be gone, and its network with it.
            network_of: None,
            ..it
        });
        let mut helper = match errand {
            Ok(errand) => match helpers.start(errand).await {
                Ok(helper) => helper,
                Err(error) => return Some(chain(&error)),
            },
            Err(why) => return Some(why),
        };
        let ended = tokio::time::timeout(CLEAN_UP, helper.ended()).await;
        let left = helper.end().await;
        let name = &self.manifest.name;
        match ended {
            Ok(Ok(ended)) if ended.exit_code == Some(0) => left.into_iter().next(),
            Ok(Ok(ended)) => Some(format!("clean up after {name}: {}", how(&ended))),
            Ok(Err(error)) => Some(format!("clean up after {name}: {}", chain(&error))),
            Err(_) => Some(format!("clean up after {name}: it did not end")),
        }
    }

    /// Until its end, which is told; or until it is to end.
    async fn watch(
        &self,
        helper: &mut Helper,
        stopped: &mut oneshot::Receiver<()>,
    ) -> Option<Result<Ended, String>> {
        let mut used = (Instant::now(), helper.cpu_us());
        loop {
            tokio::select! {
                ended = helper.ended() => return Some(ended.map_err(|error| chain(&error))),
                _ = &mut *stopped => return None,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = (Instant::now(), helper.cpu_us());
            if let (Some(before), Some(after)) = (used.1, now.1) {
                let span_us = now.0.duration_since(used.0).as_micros() as f64;
                let cores = after.saturating_sub(before) as f64 / span_us;
                let deployment = self.deployment;
                self.tell(ServiceSeen::HelperUsed { deployment, cores })
                    .await;
            }
            used = now;
        }
    }

    fn read(&self, ended: &Result<Ended, String>, look: Look) -> (HelperEnding, Read) {
        let failed = |why: String| (HelperEnding::Failed { why }, Read::default());
        let ended = match ended {
            Ok(ended) => ended,
            Err(why) => return failed(why.clone()),
        };
        // Kept even when it is not understood: a person may.
        let kept = std::fs::write(self.directory.join(OUTPUT), &ended.stdout);
        if let Err(error) = kept {
            return failed(format!("keep its output: {error}"));
        }
        if ended.dropped_bytes > 0 {
            return failed(format!(
                "it printed {} bytes more than the {} that are kept; raise limits.output in its manifest",
                ended.dropped_bytes, self.manifest.output
            ));
        }
        if ended.exit_code != Some(0) {
            return failed(how(ended));
        }
        let output = String::from_utf8_lossy(&ended.stdout);
        let program = program(self.pid);
        match reading::read(self.manifest.reads, &output, &program) {
            Ok(found) => {
                if let Some(profile) = &found.profile {
                    let of = (&self.manifest, &*self.instance.to_string());
                    profiles::keep(&self.directory, of, profile, look);
                }
                (HelperEnding::Done, Read { found, program })
            }
            Err(error) => {
                let said = last_lines(&ended.stderr);
                failed(if said.is_empty() {
                    error.to_string()
                } else {
                    format!("{error}: {said}")
                })
            }
        }
    }

    fn ended(&self, ending: HelperEnding, told: Vec<HelperTold>) -> ServiceSeen {
        let files = std::fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten();
        let mut artifacts: Vec<PathBuf> = files
            .map(|file| self.shown.join(file.file_name()))
            .collect();
        artifacts.sort();
        ServiceSeen::HelperEnded {
            deployment: self.deployment,
            ending,
            told,
            artifacts,
        }
    }

    async fn tell(&self, seen: ServiceSeen) {
        // A hub that is gone needs to hear nothing.
        let _ = self.events.send(Event::Helper(seen)).await;
    }
}

fn how(ended: &Ended) -> String {
    let how = match (ended.exit_code, ended.signal) {
        (Some(code), _) => format!("it exited with code {code}"),
        (None, signal) => format!("it was ended by signal {}", signal.unwrap_or(0)),
    };
    match last_lines(&ended.stderr) {
        said if said.is_empty() => how,
        said => format!("{how}: {said}"),
    }
}

fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join(" | ")
}
