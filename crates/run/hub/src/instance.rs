//! One instance, as it lies on this host.
//!
//! ```text
//!   opening --made--> open --close--> closing, gone
//!     |  orders wait    |  orders are carried out
//!     +-----------------+-- its groups and its init are made, and removed, by threads of their own
//! ```
//!
//! Making and removing groups, and starting a process beside a process that changes its group, make
//! the caller wait for all CPUs (some 10 ms each in version 1), so the hub never does it itself.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use cohort_host::cgroup::{InstanceGroup, InstanceMaker};
use cohort_host::init::{self, ToInit};
use cohort_host::{process, remains};
use cohort_model::{Allotment, ConditionKind, InstanceId, Isolation, ThreadId};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::task::{AbortHandle, JoinHandle};

use crate::Error;
use crate::event::{Event, Events, listen_to_init};
use crate::ground::TASKS_MAX;
use crate::python::Task;
use cohort_host::chain;

/// Who may use a scratch directory: its owner.
const SCRATCH_MODE: u32 = 0o700;
/// Longest wait for an init to end all it started.
const END_WAIT: Duration = Duration::from_secs(10);
/// Pause between two looks at an init that has not ended yet.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How often an instance met its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hits {
    /// Memory was refused or had to be reclaimed.
    pub(crate) memory: u64,
    /// The kernel killed something for memory.
    pub(crate) oom_kills: u64,
    /// A task could not be made.
    pub(crate) tasks: u64,
    /// Some task waited for a CPU, microseconds.
    pub(crate) cpu_waited_us: u64,
}

/// What an instance is squeezed to beyond its allotment while an edge case is tried in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Squeeze {
    /// Most CPU, cores.
    pub(crate) cores: Option<f64>,
    /// Most memory, bytes: beyond, the kernel kills.
    pub(crate) memory: Option<u64>,
}

/// One instance.
pub(crate) struct Instance {
    pub(crate) scratch: PathBuf,
    allotment: Allotment,
    squeeze: Squeeze,
    /// What is to be done once it is open.
    later: Later,
    /// Its init said that it is where it belongs.
    pub(crate) ready: bool,
    stage: Stage,
}

enum Stage {
    Opening(JoinHandle<Result<Made, Error>>),
    Open(Box<Open>),
}

/// What waits for an instance that is being opened.
#[derive(Default)]
pub(crate) struct Later {
    orders: Vec<ToInit>,
    /// A test for a worker.
    pub(crate) task: Option<Task>,
    /// A thread that is to be handed over, and from where.
    pub(crate) arrival: Option<(ThreadId, InstanceId)>,
}

#[derive(Default)]
struct Open {
    group: Option<InstanceGroup>,
    init: Option<Init>,
    hold: Option<AbortHandle>,
}

struct Init {
    child: Child,
    output: OwnedWriteHalf,
    listener: AbortHandle,
}

/// How an instance is made.
pub(crate) struct Making {
    pub(crate) id: InstanceId,
    /// None: without control groups.
    pub(crate) maker: Option<InstanceMaker>,
    pub(crate) allotment: Allotment,
    /// What is started as its init; none: it has none.
    pub(crate) executable: Option<PathBuf>,
}

/// What was made of an instance.
#[derive(Default)]
pub(crate) struct Made {
    group: Option<InstanceGroup>,
    init: Option<(StdStream, Child)>,
}

impl Making {
    /// Makes it; blocks. When it cannot be made, nothing of it is left.
    pub(crate) fn make(self) -> Result<Made, Error> {
        process::run_first();
        let mut made = Made::default();
        match self.fill(&mut made) {
            Ok(()) => Ok(made),
            Err(error) => {
                end(self.id, made.group, made.init.map(|(_, child)| child));
                Err(error)
            }
        }
    }

    fn fill(&self, made: &mut Made) -> Result<(), Error> {
        if let Some(maker) = &self.maker {
            let group = made.group.insert(maker.make(self.id)?);
            group.set(&self.allotment)?;
            group.set_task_limit(TASKS_MAX)?;
        }
        if let Some(executable) = &self.executable {
            let (stream, child) = init::spawn(executable, &["instance-init"])?;
            let nonblocking = stream.set_nonblocking(true);
            made.init = Some((stream, child));
            nonblocking.map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Host {
            what: format!("talk to the init of {}", self.id),
            source,
        }
    }
}

impl Instance {
    pub(crate) fn opening(
        scratch: PathBuf,
        allotment: &Allotment,
        made: JoinHandle<Result<Made, Error>>,
    ) -> Self {
        Self {
            scratch,
            allotment: *allotment,
            squeeze: Squeeze::default(),
            later: Later::default(),
            ready: false,
            stage: Stage::Opening(made),
        }
    }

    /// From opening to open. Gives the files by which a process enters its groups.
    ///
    /// # Errors
    /// When it could not be made.
    pub(crate) async fn enter(
        &mut self,
        id: InstanceId,
        events: &Events,
    ) -> Result<Vec<PathBuf>, Error> {
        let Stage::Opening(making) = &mut self.stage else {
            return Ok(self.procs_files());
        };
        let made = making.await;
        self.stage = Stage::Open(Box::default());
        let Made { group, init } = made.map_err(|error| Error::Host {
            what: format!("make {id}"),
            source: error.into(),
        })??;
        let mut open = Open {
            group,
            ..Open::default()
        };
        if let Some(group) = &mut open.group {
            group.set(&self.allotment)?;
            let _ = squeeze(group, &self.squeeze);
            if let Ok(Some(signal)) = group.hold_signal() {
                let watch = tokio::spawn(watch_hold(id, signal, events.clone()));
                open.hold = Some(watch.abort_handle());
            }
        }
        let init = init.map(|(stream, child)| (UnixStream::from_std(stream), child));
        if let Some((stream, child)) = init {
            let (input, output) = stream
                .map_err(|source| Error::Host {
                    what: format!("talk to the init of {id}"),
                    source,
                })?
                .into_split();
            let listener = tokio::spawn(listen_to_init(id, input, events.clone()));
            open.init = Some(Init {
                child,
                output,
                listener: listener.abort_handle(),
            });
        }
        self.stage = Stage::Open(Box::new(open));
        Ok(self.procs_files())
    }

    /// Does what waited for it to be open and is its own affair; gives the rest.
    pub(crate) async fn catch_up(&mut self) -> Result<Later, Error> {
        let mut later = std::mem::take(&mut self.later);
        for order in later.orders.drain(..) {
            self.tell(&order).await?;
        }
        Ok(later)
    }

    /// What waits for it to be open; none when it is.
    pub(crate) fn later(&mut self) -> Option<&mut Later> {
        matches!(self.stage, Stage::Opening(_)).then_some(&mut self.later)
    }

    /// Whether it was made, or could not be; it may not be open yet.
    pub(crate) fn is_made(&self) -> bool {
        match &self.stage {
            Stage::Opening(making) => making.is_finished(),
            Stage::Open(_) => false,
        }
    }

    fn open(&self) -> Option<&Open> {
        match &self.stage {
            Stage::Opening(_) => None,
            Stage::Open(open) => Some(open),
        }
    }

    pub(crate) fn group(&self) -> Option<&InstanceGroup> {
        self.open()?.group.as_ref()
    }

    fn group_mut(&mut self) -> Option<&mut InstanceGroup> {
        match &mut self.stage {
            Stage::Opening(_) => None,
            Stage::Open(open) => open.group.as_mut(),
        }
    }

    pub(crate) fn init_pid(&self) -> Option<i32> {
        let init = self.open()?.init.as_ref()?;
        Some(init.child.id() as i32)
    }

    pub(crate) fn has_init(&self) -> bool {
        self.init_pid().is_some()
    }

    /// Writing `0` into each of these moves the writer into the instance.
    pub(crate) fn procs_files(&self) -> Vec<PathBuf> {
        self.group()
            .map_or_else(Vec::new, InstanceGroup::procs_files)
    }

    pub(crate) fn allotment(&self) -> &Allotment {
        &self.allotment
    }

    /// Changes what it may use.
    pub(crate) fn set(&mut self, allotment: &Allotment) -> Result<(), Error> {
        self.allotment = *allotment;
        if let Some(group) = self.group_mut() {
            group.set(allotment)?;
        }
        Ok(())
    }

    /// Squeezes it, now or once it is open, and takes back what it was squeezed to before; gives the
    /// kinds that could not be had.
    pub(crate) fn squeeze(&mut self, to: Squeeze) -> Vec<ConditionKind> {
        let before = std::mem::replace(&mut self.squeeze, to);
        let allotment = self.allotment;
        let opening = matches!(self.stage, Stage::Opening(_));
        let Some(group) = self.group_mut() else {
            return if opening { Vec::new() } else { to.kinds() };
        };
        if before.memory.is_some() {
            let _ = group.set(&allotment);
        }
        if before == to {
            return Vec::new();
        }
        squeeze(group, &to)
    }

    /// Whether its scratch directory is as a test may expect it: there, its own, empty.
    pub(crate) fn scratch_is_whole(&self) -> bool {
        let is_plain = fs::symlink_metadata(&self.scratch)
            .is_ok_and(|meta| meta.is_dir() && meta.permissions().mode() & 0o777 == SCRATCH_MODE);
        let entries = fs::read_dir(&self.scratch);
        is_plain && entries.is_ok_and(|mut entries| entries.next().is_none())
    }

    pub(crate) fn is_held(&mut self) -> bool {
        self.group_mut().is_some_and(InstanceGroup::is_held)
    }

    /// How often it met its limits so far.
    pub(crate) fn hits(&mut self) -> Hits {
        self.group_mut().map_or_else(Hits::default, |group| Hits {
            memory: group.limit_hits(),
            oom_kills: group.oom_kills(),
            tasks: group.task_limit_hits(),
            cpu_waited_us: group.cpu_waited_us(),
        })
    }

    /// Time in which some task of it waited for a CPU so far, microseconds.
    pub(crate) fn cpu_waited_us(&mut self) -> u64 {
        self.group_mut().map_or(0, InstanceGroup::cpu_waited_us)
    }

    /// Tells its init something, now or once it is open. A lost init is reported as an event, not
    /// here.
    pub(crate) async fn tell(&mut self, order: &ToInit) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Opening(_) => self.later.orders.push(order.clone()),
            Stage::Open(open) => {
                if let Some(init) = &mut open.init {
                    let frame = init::protocol::encode(order)?;
                    // A broken pipe means the init is gone, of which its listener tells.
                    let _ = init.output.write_all(&frame).await;
                }
            }
        }
        Ok(())
    }

    /// Moves all but the init's own process to `target`.
    pub(crate) fn move_to(&self, target: &Instance) -> Result<u32, Error> {
        match (self.group(), target.group()) {
            (Some(source), Some(group)) => Ok(source.move_into(group, &self.own_pids())?),
            _ => Ok(0),
        }
    }

    /// Kills everything in it but its init. `leader`: a process group, where there are no groups.
    pub(crate) fn kill_inside(&self, leader: Option<i32>) -> u32 {
        if let Some(group) = self.group() {
            return group.kill_all(&self.own_pids());
        }
        leader.map_or(0, |pid| {
            let below = process::descendants(Path::new("/"), pid);
            for pid in below.iter().copied().chain([pid]) {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
            below.len() as u32
        })
    }

    /// Processes in it that are no thread's.
    pub(crate) fn own_pids(&self) -> Vec<i32> {
        self.init_pid().into_iter().collect()
    }

    /// Empties its scratch directory, unless that is its private `/tmp`: then the mount points of
    /// what must stay visible lie in it.
    pub(crate) fn sweep_scratch(&self, isolation: Isolation) {
        if isolation.mount || isolation.pid {
            return;
        }
        for entry in fs::read_dir(&self.scratch).into_iter().flatten().flatten() {
            // What cannot be removed now is removed with the campaign.
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => remains::remove_directory(&entry.path()),
                _ => fs::remove_file(entry.path()),
            };
        }
    }

    /// Kills what is in it and removes it, beside whatever else happens; gives what could not be
    /// removed, in words.
    pub(crate) fn close(self, id: InstanceId) -> JoinHandle<Vec<String>> {
        let scratch = self.scratch;
        match self.stage {
            Stage::Opening(making) => tokio::spawn(async move {
                let made = making.await.ok().and_then(Result::ok).unwrap_or_default();
                let ended = tokio::task::spawn_blocking(move || {
                    let child = made.init.map(|(_, child)| child);
                    remove(id, made.group, child, &scratch)
                });
                ended.await.unwrap_or_default()
            }),
            Stage::Open(open) => {
                let Open { group, init, hold } = *open;
                if let Some(hold) = hold {
                    hold.abort();
                }
                let child = init.map(|init| {
                    init.listener.abort();
                    init.child
                });
                tokio::task::spawn_blocking(move || remove(id, group, child, &scratch))
            }
        }
    }
}

impl Squeeze {
    /// What is to be had.
    pub(crate) fn kinds(&self) -> Vec<ConditionKind> {
        let kinds = [
            (self.cores.is_some(), ConditionKind::CpuLimit),
            (self.memory.is_some(), ConditionKind::MemoryLimit),
        ];
        let wanted = kinds.into_iter().filter(|(wanted, _)| *wanted);
        wanted.map(|(_, kind)| kind).collect()
    }
}

/// Gives the kinds that could not be had.
fn squeeze(group: &mut InstanceGroup, to: &Squeeze) -> Vec<ConditionKind> {
    let mut missing = Vec::new();
    let limited = match to.cores {
        Some(_) => group.set_cpu_limit_tightly(to.cores),
        None => group.set_cpu_limit(None),
    };
    if limited.is_err() && to.cores.is_some() {
        missing.push(ConditionKind::CpuLimit);
    }
    if let Some(bytes) = to.memory
        && group.set_memory_limit(bytes).is_err()
    {
        missing.push(ConditionKind::MemoryLimit);
    }
    missing
}

fn remove(
    id: InstanceId,
    group: Option<InstanceGroup>,
    init: Option<Child>,
    scratch: &Path,
) -> Vec<String> {
    let mut left = end(id, group, init);
    if let Err(error) = remains::remove_directory(scratch) {
        left.push(format!("remove {}: {error}", scratch.display()));
    }
    left
}

/// Kills all that is in an instance, and removes its groups.
fn end(id: InstanceId, group: Option<InstanceGroup>, init: Option<Child>) -> Vec<String> {
    let mut left = Vec::new();
    if let Some(group) = &group {
        group.kill_all(&[]);
    }
    if let Some(mut init) = init {
        // Its socket is closed, so it kills all it started and ends. Without groups nobody else could.
        let deadline = Instant::now() + END_WAIT;
        while group.is_none() && matches!(init.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(LOOK_AGAIN);
        }
        let _ = init.kill();
        let _ = init.wait();
    }
    if let Some(group) = group {
        group.kill_all(&[]);
        if let Err(error) = group.remove() {
            left.push(format!("{id}: {}", chain(&error)));
        }
    }
    left
}

#[expect(
    deprecated,
    reason = "an owned descriptor lives as long as its registration, which is what is asked for"
)]
async fn watch_hold(id: InstanceId, signal: OwnedFd, events: Events) {
    let Ok(signal) = AsyncFd::new(signal) else {
        return;
    };
    while let Ok(mut ready) = signal.readable().await {
        if events.send(Event::Hold(id)).await.is_err() {
            return;
        }
        // The hub clears the signal when it asks whether the instance is held.
        ready.clear_ready();
    }
}
