//! Starting one program in a child: fork, the child's own settings, exec.
//!
//! `std::process` cannot be used: it waits until the program is there, and a traced program gets
//! there only when its tracer lets it.
//!
//! Promise: between fork and exec nothing is allocated and no lock is taken.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, refused};
use crate::trace::Filter;

/// A program that could not be started exits with this, as shells have it. Why is written into a pipe.
const NOT_STARTED: i32 = 127;

/// What is started.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    paths: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    directory: Option<CString>,
}

/// What a child sets for itself before it becomes the program.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// CPUs that it may run on; empty: all that it may anyway.
    pub(crate) cpus: Vec<usize>,
    /// Limit of open files.
    pub(crate) open_files: Option<u64>,
    /// Limit of the address space, bytes.
    pub(crate) address_space: Option<u64>,
    /// Waits until its tracer is there; the system calls that the tracer is told of.
    pub(crate) traced: Option<Filter>,
    /// Signals that were blocked when this process was started.
    pub(crate) mask: Option<nix::sys::signal::SigSet>,
    /// How late a timer may be, nanoseconds, as it was when this process was started.
    pub(crate) timer_slack_ns: u64,
}

/// Where a child's streams go; none: where this process's go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Streams {
    pub(crate) input: Option<RawFd>,
    pub(crate) output: Option<RawFd>,
    pub(crate) errors: Option<RawFd>,
}

/// A child that was started.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its process id.
    pub(crate) pid: i32,
    name: String,
    /// Holds it back while it is traced; written to, it goes on.
    go: OwnedFd,
    failed: OwnedFd,
}

impl Program {
    /// A program, its arguments, and an environment by changes to this process's.
    ///
    /// # Errors
    /// When it has no name, or there is none of that name.
    pub(crate) fn new(
        program: &OsStr,
        arguments: &[OsString],
        directory: Option<&Path>,
        changes: &[(String, Option<String>)],
    ) -> Result<Program, Error> {
        let name = program.to_string_lossy().into_owned();
        let bad = |_| start(&name, io::ErrorKind::InvalidInput.into());
        let environment = environment(changes);
        let paths = candidates(program, &environment);
        if paths.is_empty() {
            return Err(start(&name, io::ErrorKind::NotFound.into()));
        }
        let text = |bytes: &OsStr| CString::new(bytes.as_bytes());
        Ok(Program {
            paths: (paths.iter().map(|path| text(path.as_os_str())))
                .collect::<Result<_, _>>()
                .map_err(bad)?,
            arguments: std::iter::once(program)
                .chain(arguments.iter().map(OsString::as_os_str))
                .map(text)
                .collect::<Result<_, _>>()
                .map_err(bad)?,
            environment: (environment.iter())
                .map(|(name, value)| {
                    CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
                })
                .collect::<Result<_, _>>()
                .map_err(bad)?,
            directory: directory
                .map(|path| text(path.as_os_str()))
                .transpose()
                .map_err(bad)?,
            name,
        })
    }

    /// Starts it. A traced one waits until [`Child::release`].
    ///
    /// # Errors
    /// When the system has no room for one more process.
    pub(crate) fn spawn(&self, settings: &Settings, streams: Streams) -> Result<Child, Error> {
        let (go_read, go_write) = pipe()?;
        let (failed_read, failed_write) = pipe()?;
        let flags = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
        nix::fcntl::fcntl(&failed_read, flags)
            .map_err(|error| refused("set up a pipe")(error.into()))?;
        let mut vectors = Vectors::of(self);
        let parent = nix::unistd::getpid().as_raw();
        let pid = fork()?;
        if pid == 0 {
            drop(go_write);
            let held = settings.traced.as_ref().map(|_| go_read.as_raw_fd());
            let error = become_program(self, &mut vectors, settings, streams, held, parent);
            give_up(&failed_write, error);
        }
        Ok(Child {
            pid,
            name: self.name.clone(),
            go: go_write,
            failed: failed_read,
        })
    }
}

impl Child {
    /// Its tracer is there: it may go on.
    pub(crate) fn release(&self) {
        // A byte, rather than the end of the pipe: others that were forked meanwhile have it open too.
        let _ = nix::unistd::write(&self.go, b"g");
    }

    /// Once it has ended: why it could not be started, if so.
    pub(crate) fn failure(&self) -> Option<Error> {
        let mut number = [0; 4];
        let count = nix::unistd::read(&self.failed, &mut number).ok()?;
        let source = io::Error::from_raw_os_error(i32::from_ne_bytes(number));
        (count == number.len()).then(|| start(&self.name, source))
    }
}

/// Pointers for exec, made before the fork.
struct Vectors {
    arguments: Vec<*const libc::c_char>,
    shell_arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
}

impl Vectors {
    fn of(program: &Program) -> Vectors {
        let pointers = |texts: &[CString]| {
            let texts = texts.iter().map(|text| text.as_ptr());
            texts.chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let arguments = pointers(&program.arguments);
        // As execvp(3): a script without a first line that names who reads it is read by sh.
        let mut shell_arguments = vec![c"sh".as_ptr(), std::ptr::null()];
        shell_arguments.extend(arguments.iter().skip(1));
        Vectors {
            arguments,
            shell_arguments,
            environment: pointers(&program.environment),
        }
    }
}

fn start(name: &str, source: io::Error) -> Error {
    let program = name.to_owned();
    Error::Start { program, source }
}

/// Fork of a process that has one thread.
#[expect(unsafe_code, reason = "fork(2)")]
pub(crate) fn fork() -> Result<i32, Error> {
    // SAFETY: the child is left in code of this crate that ends in exec or _exit, and this process has
    // no other thread at this time whose locks it could miss.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(refused("start one more process")(io::Error::last_os_error()));
    }
    Ok(pid)
}

/// Ends a forked child at once, without what is done at a program's end.
#[expect(unsafe_code, reason = "_exit(2)")]
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: takes a number.
    unsafe { libc::_exit(code) }
}

/// Has this process be killed when its parent is. False when the parent is gone already.
#[expect(unsafe_code, reason = "prctl(2) has no safe wrapper")]
pub(crate) fn die_with(parent: i32, signal: i32) -> bool {
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
    nix::unistd::getppid().as_raw() == parent
}

/// How late timers of this process may be, nanoseconds: reads it, and sets it.
#[expect(unsafe_code, reason = "prctl(2) has no safe wrapper")]
pub(crate) fn timer_slack(set_ns: u64) -> u64 {
    // SAFETY: takes numbers, gives one.
    unsafe {
        let before = libc::prctl(libc::PR_GET_TIMERSLACK);
        libc::prctl(libc::PR_SET_TIMERSLACK, set_ns);
        u64::try_from(before).unwrap_or(50_000)
    }
}

fn give_up(pipe: &OwnedFd, error: i32) -> ! {
    let _ = nix::unistd::write(pipe, &error.to_ne_bytes());
    leave(NOT_STARTED)
}

/// Runs in the child; gives the number of an error when the program could not be reached.
#[expect(unsafe_code, reason = "the system calls between fork and exec")]
fn become_program(
    program: &Program,
    vectors: &mut Vectors,
    settings: &Settings,
    streams: Streams,
    held: Option<RawFd>,
    parent: i32,
) -> i32 {
    if !die_with(parent, libc::SIGKILL) {
        return libc::ESRCH;
    }
    // SAFETY: all pointers are to what was made before the fork and lives on; dispositions and the
    // mask are set to what a program expects.
    unsafe {
        for (from, to) in [(streams.input, 0), (streams.output, 1), (streams.errors, 2)] {
            if from.is_some_and(|from| libc::dup2(from, to) < 0) {
                return errno();
            }
        }
        if (program.directory.as_ref()).is_some_and(|path| libc::chdir(path.as_ptr()) < 0) {
            return errno();
        }
        if let Some(held) = held {
            let mut byte = 0_u8;
            while libc::read(held, (&raw mut byte).cast(), 1) < 0 && errno() == libc::EINTR {}
        }
        if let Err(error) = limit(settings) {
            return error;
        }
        timer_slack(settings.timer_slack_ns);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        if let Some(mask) = &settings.mask {
            libc::sigprocmask(libc::SIG_SETMASK, mask.as_ref(), std::ptr::null_mut());
        }
        if let Some(error) = (settings.traced.as_ref()).and_then(|filter| filter.install().err()) {
            return error;
        }
        let mut error = libc::ENOENT;
        let environment = vectors.environment.as_ptr();
        for path in &program.paths {
            libc::execve(path.as_ptr(), vectors.arguments.as_ptr(), environment);
            let last = errno();
            if last == libc::ENOEXEC {
                if let Some(place) = vectors.shell_arguments.get_mut(1) {
                    *place = path.as_ptr();
                }
                let from = vectors.shell_arguments.as_ptr();
                libc::execve(c"/bin/sh".as_ptr(), from, environment);
                return errno();
            }
            // As execvp(3): one that may not be run is told of only when no other is there.
            if error != libc::EACCES {
                error = last;
            }
        }
        error
    }
}

fn errno() -> i32 {
    nix::errno::Errno::last_raw()
}

/// Sets CPUs and limits of the calling process.
fn limit(settings: &Settings) -> Result<(), i32> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if !settings.cpus.is_empty() {
        let mut set = nix::sched::CpuSet::new();
        for cpu in &settings.cpus {
            set.set(*cpu).map_err(|error| error as i32)?;
        }
        let me = nix::unistd::Pid::from_raw(0);
        nix::sched::sched_setaffinity(me, &set).map_err(|error| error as i32)?;
    }
    let limits = [
        (Resource::RLIMIT_NOFILE, settings.open_files),
        (Resource::RLIMIT_AS, settings.address_space),
    ];
    for (resource, limit) in limits {
        let Some(limit) = limit else { continue };
        let (_, hard) = getrlimit(resource).map_err(|error| error as i32)?;
        // The hard one too: several runtimes raise the other to it when they start.
        let limit = limit.min(hard);
        setrlimit(resource, limit, limit).map_err(|error| error as i32)?;
    }
    Ok(())
}

/// A pipe that programs do not inherit.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    let flags = nix::fcntl::OFlag::O_CLOEXEC;
    nix::unistd::pipe2(flags).map_err(|error| refused("make a pipe")(error.into()))
}

/// `/dev/null`, to read or to write.
pub(crate) fn null() -> Result<std::fs::File, Error> {
    (std::fs::OpenOptions::new().read(true).write(true))
        .open("/dev/null")
        .map_err(refused("open /dev/null"))
}

/// This process's environment with changes.
fn environment(changes: &[(String, Option<String>)]) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    for (name, value) in changes {
        variables.retain(|(known, _)| known != OsStr::new(name));
        if let Some(value) = value {
            variables.push((name.into(), value.into()));
        }
    }
    variables
}

/// Where a program of this name may be.
fn candidates(program: &OsStr, environment: &[(OsString, OsString)]) -> Vec<PathBuf> {
    if program.is_empty() {
        return Vec::new();
    }
    if program.as_bytes().contains(&b'/') {
        return vec![PathBuf::from(program)];
    }
    let path = environment.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or_else(
        || OsString::from("/bin:/usr/bin"),
        |(_, value)| value.clone(),
    );
    (std::env::split_paths(&path))
        .map(|directory| directory.join(program))
        .filter(|path| path.is_file())
        .collect()
}
