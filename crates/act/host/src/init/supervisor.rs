//! The loop of the init: orders, output, ends.
//!
//! ```text
//! poll: hub, signals, pipes, nearest deadline
//!   -> orders -> output -> children that ended -> deadlines -> sweeps -> reports
//! ```
//!
//! It waits for no one: not for the hub to read, not for a process to die, not for a pipe to close.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::child::{self, Launched, Launcher, ended_child, reap};
use super::link::Link;
use super::place::{Place, Process};
use super::protocol::{FromInit, OUTPUT_BYTES_MAX, Setup, Start, ToInit};
use super::thread::Thread;

/// Read from a pipe at once: what a pipe holds by default, bytes.
const READ_BYTES: usize = 64 << 10;

/// Between two looks at processes that were killed and have not gone yet. Most make themselves
/// heard by SIGCHLD before; the others are not children of the init.
const SWEEP_PAUSE_MS: u64 = 2;

/// For all that runs to be gone after the order to end.
const CLOSE_MS_MAX: u64 = 10_000;

/// Who sends one of these to the init gets what an order to shut down does: nothing is left.
const ENDING_SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// Why there is nothing that could supervise.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "open /dev/null, which tests read as standard input: {source}; it must be a readable device"
    )]
    Null { source: io::Error },
    #[error(
        "read the processes of instance i{instance} in {}: {source}; it must be the cgroup.procs of its cgroup",
        procs_file.display()
    )]
    Procs {
        instance: u32,
        procs_file: PathBuf,
        source: io::Error,
    },
    #[error("hear when tests end (signalfd): {source}; raise the limit of open files (ulimit -n)")]
    Signals { source: io::Error },
}

/// All that the init knows.
pub(super) struct Supervisor {
    launcher: Launcher,
    /// Where threads live unless they were moved.
    home: Place,
    signals: SignalFd,
    threads: Vec<Thread>,
    output_bytes_max: usize,
    missing: Vec<String>,
    /// Until when all must be gone; set once it is to end.
    closing: Option<Instant>,
    buffer: Box<[u8]>,
    pid: i32,
}

impl Supervisor {
    /// To be made inside the instance.
    pub(super) fn new(setup: &Setup, mut missing: Vec<String>) -> Result<Supervisor, Error> {
        if let Err(errno) = nix::sys::prctl::set_child_subreaper(true) {
            missing.push(format!(
                "orphans of tests are not handed to the init: {errno}"
            ));
        }
        let launcher = Launcher::new().map_err(|source| Error::Null { source })?;
        missing.extend(launcher.missing());
        let home = match &setup.own_procs_file {
            None => Place::descent(),
            Some(path) => Place::cgroup(path).map_err(|source| Error::Procs {
                instance: setup.instance,
                procs_file: path.clone(),
                source,
            })?,
        };
        let mut heard = SigSet::from_iter(ENDING_SIGNALS);
        heard.add(Signal::SIGCHLD);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&heard, flags).map_err(|errno| Error::Signals {
            source: errno.into(),
        })?;
        let output_bytes_max = setup.output_bytes_max.min(OUTPUT_BYTES_MAX);
        Ok(Supervisor {
            launcher,
            home,
            signals,
            threads: Vec::new(),
            output_bytes_max: usize::try_from(output_bytes_max).expect("at most 16 MiB"),
            missing,
            closing: None,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            pid: std::process::id().cast_signed(),
        })
    }

    /// Serves the hub until it says so or is gone; then nothing that was started is left.
    pub(super) fn run(mut self, mut link: Link) {
        link.send(&FromInit::Ready {
            missing: std::mem::take(&mut self.missing),
        });
        loop {
            // Orders may have come in one piece with the set-up: first them, then wait.
            while let Some(order) = link.next() {
                self.obey(order, &mut link);
            }
            if link.is_lost() {
                self.close();
            }
            self.reap_children();
            self.kill_overdue();
            for ended in self.sweep() {
                link.send(&ended);
            }
            if self.is_done() {
                break;
            }
            self.wait(&mut link);
        }
        self.clear_home();
    }

    fn is_done(&self) -> bool {
        self.closing
            .is_some_and(|until| self.threads.is_empty() || until <= Instant::now())
    }

    /// Sleeps until something is to be done; moves bytes from and to whoever is ready.
    fn wait(&mut self, link: &mut Link) {
        let wants_out = if link.has_outgoing() {
            PollFlags::POLLOUT
        } else {
            PollFlags::empty()
        };
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let pipes = self
            .threads
            .iter()
            .flat_map(|it| [it.stdout.fd(), it.stderr.fd()])
            .flatten();
        fds.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)));
        if !link.is_lost() {
            fds.push(PollFd::new(link.fd(), PollFlags::POLLIN | wants_out));
        }
        // An error is an interruption: nothing is ready, and the loop comes by again.
        let _ = poll(&mut fds, self.timeout());
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let mut ready = ready.into_iter();
        if ready.next().unwrap_or(false) {
            self.take_signals();
        }
        for thread in &mut self.threads {
            for stream in [&mut thread.stdout, &mut thread.stderr] {
                if stream.fd().is_some() && ready.next().unwrap_or(false) {
                    stream.read(&mut self.buffer);
                }
            }
        }
        if ready.next().unwrap_or(false) {
            link.flush();
            link.receive();
        }
    }

    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let pause = now + Duration::from_millis(SWEEP_PAUSE_MS);
        let sweeping = self
            .threads
            .iter()
            .any(|it| !it.is_running())
            .then_some(pause);
        let deadlines = self.threads.iter().filter_map(|it| it.kill_at);
        let Some(next) = deadlines.chain(sweeping).chain(self.closing).min() else {
            return PollTimeout::NONE;
        };
        // Rounded up: waking just before a deadline would only spin.
        let ms = next
            .saturating_duration_since(now)
            .as_micros()
            .div_ceil(1000);
        PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo.cast_signed() != libc::SIGCHLD {
                self.close();
            }
        }
    }

    fn obey(&mut self, order: ToInit, link: &mut Link) {
        match order {
            ToInit::Start(start) => {
                let started = self.start(&start, |launcher| launcher.launch(&start));
                link.send(&started);
            }
            ToInit::Serve(serve) => {
                let started = self.start(&serve.start, |launcher| launcher.launch_service(&serve));
                link.send(&started);
            }
            ToInit::Kill {
                thread,
                grace_ms: 0,
            } => {
                if let Some(index) = self.running(thread) {
                    self.kill(index);
                }
            }
            ToInit::Kill { thread, grace_ms } => self.stop(thread, Signal::SIGTERM, grace_ms),
            ToInit::Stop {
                thread,
                signal,
                grace_ms,
            } => {
                // One that does not exist is none that could be ignored.
                let signal = Signal::try_from(signal).unwrap_or(Signal::SIGKILL);
                self.stop(thread, signal, grace_ms);
            }
            ToInit::Moved {
                thread,
                procs_file,
                spare,
            } => {
                let thread = self.threads.iter_mut().find(|it| it.id == thread);
                // A place that cannot be read is gone, and its processes with it.
                if let (Some(thread), Ok(place)) = (thread, Place::cgroup(&procs_file)) {
                    thread.moved = Some(place);
                    thread.spare = spare;
                }
            }
            ToInit::Shutdown => self.close(),
            ToInit::Setup(_) => {} // It is set up: the first word counts.
        }
    }

    fn stop(&mut self, thread: u32, signal: Signal, grace_ms: u32) {
        if let Some(index) = self.running(thread) {
            let grace = Duration::from_millis(u64::from(grace_ms));
            self.threads[index].terminate(signal, Instant::now() + grace);
        }
    }

    fn start(
        &mut self,
        start: &Start,
        launch: impl FnOnce(&mut Launcher) -> Result<Launched, child::Error>,
    ) -> FromInit {
        let refused = if self.closing.is_some() {
            Some("the instance is ending")
        } else if self.threads.iter().any(|it| it.id == start.thread) {
            Some("its thread runs already")
        } else {
            None
        };
        let thread = start.thread;
        if let Some(why) = refused {
            let message = format!("start {:?} as thread t{thread}: {why}", start.program);
            return FromInit::StartFailed { thread, message };
        }
        restore_scratch(start);
        match launch(&mut self.launcher) {
            Ok(launched) => {
                let pid = launched.pid;
                self.threads
                    .push(Thread::new(thread, launched, self.output_bytes_max));
                FromInit::Started { thread, pid }
            }
            Err(error) => FromInit::StartFailed {
                thread,
                message: error.to_string(),
            },
        }
    }

    fn running(&self, thread: u32) -> Option<usize> {
        self.threads
            .iter()
            .position(|it| it.id == thread && it.is_running())
    }

    /// Kills everything, and starts nothing more.
    fn close(&mut self) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(Instant::now() + Duration::from_millis(CLOSE_MS_MAX));
        for index in 0..self.threads.len() {
            if self.threads[index].is_running() {
                self.kill(index);
            }
        }
    }

    /// SIGKILL to all of a running thread.
    fn kill(&mut self, index: usize) {
        self.threads[index].kill_at = None;
        self.threads[index].is_killed = true;
        self.threads[index].signal_group(Signal::SIGKILL);
        let (living, spare) = self.living(index);
        self.place(index).kill(&living, &spare);
    }

    fn kill_overdue(&mut self) {
        let now = Instant::now();
        for index in 0..self.threads.len() {
            if self.threads[index].kill_at.is_some_and(|at| at <= now) {
                self.kill(index);
            }
        }
    }

    fn place(&self, index: usize) -> &Place {
        self.threads[index].moved.as_ref().unwrap_or(&self.home)
    }

    /// What lives of a thread beside its first process, and what was spared in looking.
    ///
    /// While another thread runs in the same place, only the process group is certainly this one's.
    /// What else it may have left is killed when the last thread there ends.
    fn living(&self, index: usize) -> (Vec<Process>, Vec<i32>) {
        let thread = &self.threads[index];
        let mut spare = vec![self.pid, thread.pid];
        spare.extend(&thread.spare);
        let others = self
            .threads
            .iter()
            .enumerate()
            .filter(|(at, it)| *at != index && it.is_running());
        let others: Vec<usize> = others
            .map(|(at, _)| at)
            .filter(|at| self.place(*at).overlaps(self.place(index)))
            .collect();
        spare.extend(others.iter().map(|at| self.threads[*at].pid));
        let mut living = self.place(index).living(&spare);
        if !others.is_empty() {
            living.retain(|process| process.group == thread.pid);
        }
        (living, spare)
    }

    /// Takes leave of every child that ended, orphans included.
    fn reap_children(&mut self) {
        while let Some(pid) = ended_child() {
            let ended = Instant::now();
            match self
                .threads
                .iter()
                .position(|it| it.pid == pid && it.is_running())
            {
                Some(index) => self.first_process_ended(index, ended),
                None => {
                    reap(pid);
                }
            }
        }
    }

    /// What it left is counted and killed before it is reaped, while its group's number is its own.
    fn first_process_ended(&mut self, index: usize, ended: Instant) {
        let (living, spare) = self.living(index);
        let left_behind = living
            .iter()
            .filter(|process| !process.is_exiting())
            .count();
        if !living.is_empty() {
            self.threads[index].signal_group(Signal::SIGKILL);
            self.place(index).kill(&living, &spare);
        }
        let exit = reap(self.threads[index].pid);
        self.threads[index].begin_sweep(exit, ended, left_behind);
    }

    /// Looks after what ended threads left; those that left nothing any more are reported.
    fn sweep(&mut self) -> Vec<FromInit> {
        let mut reports = Vec::new();
        for index in (0..self.threads.len()).rev() {
            if self.threads[index].is_running() {
                continue;
            }
            let (living, spare) = self.living(index);
            if living.is_empty() || self.threads[index].is_out_of_time(Instant::now()) {
                let thread = self.threads.remove(index);
                reports.push(FromInit::Ended(thread.finish(&mut self.buffer)));
            } else {
                self.place(index).kill(&living, &spare);
            }
        }
        reports
    }

    /// The last look around, for what belonged to no thread (any more).
    fn clear_home(&mut self) {
        let until = self.closing.unwrap_or_else(Instant::now);
        let descent = Place::descent();
        let spare = [self.pid];
        loop {
            let mut is_clear = true;
            for place in [&self.home, &descent] {
                let living = place.living(&spare);
                place.kill(&living, &spare);
                is_clear &= living.is_empty();
            }
            while let Some(pid) = ended_child() {
                reap(pid);
            }
            if is_clear || until <= Instant::now() {
                return;
            }
            let pause = PollTimeout::try_from(SWEEP_PAUSE_MS).expect("a few milliseconds");
            let _ = poll(
                &mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)],
                pause,
            );
            while let Ok(Some(_)) = self.signals.read_signal() {}
        }
    }
}

/// Makes the directory for temporary files anew when a test before this one removed it.
fn restore_scratch(start: &Start) {
    if let Some((_, scratch)) = start.env.iter().find(|(name, _)| name == "TMPDIR") {
        // Most often it is there. Where it cannot be made, the test meets what it would without Cohort.
        let _ = DirBuilder::new().mode(0o700).create(scratch);
    }
}
