//! Turning an order to start into a process.
//!
//! ```text
//! init    raise own oom score | clone(VM|VFORK) ......stopped...... | lower it | read the outcome
//! child                         own group, die with init, cwd, fds, signals, execve
//! ```
//!
//! The child borrows the init's memory until it executes the program, as posix_spawn(3) does, so
//! starting costs no copy of page tables, and an error comes back through plain memory. A fresh
//! process has its own group, dies with the init, reads nothing, and finds signals as after login.

use std::ffi::{CString, OsStr, OsString, c_char, c_int, c_void};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use cohort_model::Usage;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::protocol::{Serve, Start};

/// Stack of the child between clone and execve.
const STACK_BYTES: usize = 64 << 10;

/// Tests are the first choice when the kernel runs out of memory, before their init.
const OOM_SCORE_ADJ: i32 = 500;

/// What is searched for a bare name when the environment has no `PATH` (confstr(3)).
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "start {program:?}: its name, an argument or a variable holds a NUL byte, which no process can be given"
    )]
    Nul { program: OsString },
    #[error(
        "start {program:?}: no pipes for its output ({source}); raise the limit of open files (ulimit -n)"
    )]
    Pipe {
        program: OsString,
        source: io::Error,
    },
    #[error(
        "start {program:?}: its output cannot go to {} ({source}); somebody must read it first", path.display()
    )]
    Output {
        program: OsString,
        path: std::path::PathBuf,
        source: io::Error,
    },
    #[error("start {program:?}: no new process ({source}); lower the number of instances")]
    Clone {
        program: OsString,
        source: io::Error,
    },
    #[error("start {program:?} in {}: cannot enter that directory ({source})", cwd.display())]
    Cwd {
        program: OsString,
        cwd: std::path::PathBuf,
        source: io::Error,
    },
    #[error(
        "start {program:?}: not executed ({source}); it must be an executable file, as must be the interpreter it names"
    )]
    Execute {
        program: OsString,
        source: io::Error,
    },
    #[error("start {program:?}: its process could not be prepared ({source})")]
    Prepare {
        program: OsString,
        source: io::Error,
    },
}

/// A process that runs the program.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) pid: i32,
    /// Where its output is read; none when somebody else reads it.
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    /// Just before it was forked.
    pub(super) at: Instant,
}

/// All that every start needs again.
#[derive(Debug)]
pub(super) struct Launcher {
    null: File,
    stack: Box<[u128]>,
    oom_score: OomScore,
}

impl Launcher {
    /// Fails where there is no `/dev/null`.
    pub(super) fn new() -> io::Result<Launcher> {
        let null = File::open("/dev/null")?;
        let stack = vec![0_u128; STACK_BYTES / size_of::<u128>()].into_boxed_slice();
        Ok(Launcher {
            null,
            stack,
            oom_score: OomScore::open(),
        })
    }

    /// What cannot be had on this host.
    pub(super) fn missing(&self) -> Option<String> {
        self.oom_score.file.is_none().then(|| {
            "when memory runs out, the kernel may choose an instance's init before its test: \
             /proc/self/oom_score_adj cannot be written"
                .to_owned()
        })
    }

    /// Starts the program, its output taken by the init; returns once it is executed.
    pub(super) fn launch(&mut self, start: &Start) -> Result<Launched, Error> {
        let pipe = || {
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
            nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            Ok((reader, writer))
        };
        let pipe = || {
            pipe().map_err(|errno: nix::Error| Error::Pipe {
                program: start.program.clone(),
                source: errno.into(),
            })
        };
        let (stdout, stdout_write) = pipe()?;
        let (stderr, stderr_write) = pipe()?;
        let mut launched = self.launch_into(start, [&stdout_write, &stderr_write])?;
        launched.stdout = Some(stdout);
        launched.stderr = Some(stderr);
        Ok(launched)
    }

    /// Starts a program whose output somebody else reads.
    pub(super) fn launch_service(&mut self, serve: &Serve) -> Result<Launched, Error> {
        let open = |path: &Path| {
            open_fifo(path).map_err(|source| Error::Output {
                program: serve.start.program.clone(),
                path: path.to_path_buf(),
                source,
            })
        };
        let (stdout, stderr) = (open(&serve.stdout)?, open(&serve.stderr)?);
        self.launch_into(&serve.start, [&stdout, &stderr])
    }

    fn launch_into(&mut self, start: &Start, outputs: [&OwnedFd; 2]) -> Result<Launched, Error> {
        let program = || start.program.clone();
        let image = Image::new(start).ok_or_else(|| Error::Nul { program: program() })?;
        let fds = [
            self.null.as_raw_fd(),
            outputs[0].as_raw_fd(),
            outputs[1].as_raw_fd(),
        ];
        let at = Instant::now();
        let pid = image.clone_and_execute(self, fds).map_err(|failure| {
            let (program, source) = (program(), io::Error::from_raw_os_error(failure.errno));
            match failure.step {
                Step::Clone => Error::Clone { program, source },
                Step::Cwd => Error::Cwd {
                    program,
                    cwd: start.cwd.clone(),
                    source,
                },
                Step::Execute => Error::Execute { program, source },
                Step::Prepare => Error::Prepare { program, source },
            }
        })?;
        Ok(Launched {
            pid,
            stdout: None,
            stderr: None,
            at,
        })
    }
}

/// The writing end of a FIFO that somebody reads; without a reader it is an error at once.
fn open_fifo(path: &Path) -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    // The program inherits these flags, and expects to wait while nobody takes what it writes.
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(file.into())
}

/// A child inherits the init's score, so the init raises its own for the moment of cloning: two
/// writes instead of three calls in the child.
#[derive(Debug)]
struct OomScore {
    file: Option<File>,
    own: String,
    raised: String,
}

impl OomScore {
    fn open() -> OomScore {
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
        let own: i32 = own.trim().parse().unwrap_or(0);
        let file = OpenOptions::new()
            .write(true)
            .open("/proc/self/oom_score_adj")
            .ok();
        let mut score = OomScore {
            file,
            own: own.to_string(),
            raised: own.max(OOM_SCORE_ADJ).to_string(),
        };
        // Whoever cannot come back must not go there.
        if !(score.set(&score.raised) && score.set(&score.own)) {
            score.file = None;
        }
        score
    }

    fn set(&self, value: &str) -> bool {
        self.file
            .as_ref()
            .is_some_and(|file| file.write_at(value.as_bytes(), 0).is_ok())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Clone,
    Prepare,
    Cwd,
    Execute,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    step: Step,
    errno: c_int,
}

/// The program with all it is given, as execve(2) wants it.
struct Image {
    /// To be tried in this order.
    paths: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    nice: c_int,
}

impl Image {
    /// None when a NUL byte is somewhere in it.
    fn new(start: &Start) -> Option<Image> {
        let c = |text: &OsStr| CString::new(text.as_bytes()).ok();
        let variable = |(name, value): &(OsString, OsString)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        };
        let args = std::iter::once(&start.program).chain(&start.args);
        Some(Image {
            paths: candidates(start)
                .iter()
                .map(|path| c(path))
                .collect::<Option<_>>()?,
            args: args.map(|argument| c(argument)).collect::<Option<_>>()?,
            env: start.env.iter().map(variable).collect::<Option<_>>()?,
            cwd: c(start.cwd.as_os_str())?,
            nice: c_int::from(start.nice),
        })
    }

    #[expect(
        unsafe_code,
        reason = "clone(2) sharing memory is what makes starting cheap"
    )]
    fn clone_and_execute(&self, launcher: &mut Launcher, fds: [RawFd; 3]) -> Result<i32, Failure> {
        let [paths, args, env] = [&self.paths, &self.args, &self.env].map(|list| pointers(list));
        let mut context = Context {
            paths: paths.as_ptr(),
            args: args.as_ptr(),
            env: env.as_ptr(),
            cwd: self.cwd.as_ptr(),
            fds,
            init: std::process::id().cast_signed(),
            nice: self.nice,
            failure: None,
        };
        let shared = &raw mut context;
        launcher.oom_score.set(&launcher.oom_score.raised);
        // SAFETY: CLONE_VFORK stops this process until the child executed or ended, so everything
        // the context points to outlives its use, and no one else touches it. The child runs on a
        // stack of its own, whose end is aligned as u128 is. All signals are blocked, so no handler
        // runs in the child, and it only makes system calls.
        let pid = unsafe {
            let stack_end = launcher.stack.as_mut_ptr_range().end;
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            libc::clone(execute, stack_end.cast(), flags, shared.cast())
        };
        let clone_errno = nix::errno::Errno::last_raw();
        launcher.oom_score.set(&launcher.oom_score.own);
        if pid == -1 {
            return Err(Failure {
                step: Step::Clone,
                errno: clone_errno,
            });
        }
        // SAFETY: the child is through with the context.
        match unsafe { shared.read_volatile().failure } {
            None => Ok(pid),
            Some(failure) => {
                reap(pid);
                Err(failure)
            }
        }
    }
}

/// Where the program may be: as execvp(3) looks for it.
fn candidates(start: &Start) -> Vec<OsString> {
    if start.program.as_bytes().contains(&b'/') || start.program.is_empty() {
        return vec![start.program.clone()];
    }
    let path = start.env.iter().rev().find(|(name, _)| name == "PATH");
    let folders = path.map_or(OsStr::new(PATH_DEFAULT), |(_, folders)| folders);
    std::env::split_paths(folders)
        .map(|folder| {
            Path::new(".")
                .join(folder)
                .join(&start.program)
                .into_os_string()
        })
        .collect()
}

/// A list that ends with a null pointer.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|it| it.as_ptr())
        .chain(std::iter::once(std::ptr::null()))
        .collect()
}

/// What the child is told, and what it answers.
struct Context {
    paths: *const *const c_char,
    args: *const *const c_char,
    env: *const *const c_char,
    cwd: *const c_char,
    /// Of init; they become the child's 0, 1 and 2. None of them is below 3.
    fds: [RawFd; 3],
    init: i32,
    nice: c_int,
    failure: Option<Failure>,
}

/// The child, from its first moment to the program. Allocates nothing, takes no lock.
#[expect(unsafe_code, reason = "system calls between clone and execve")]
extern "C" fn execute(context: *mut c_void) -> c_int {
    // SAFETY: the init passes a context that lives until the child executes or ends.
    let context = unsafe { &mut *context.cast::<Context>() };
    // SAFETY: the pointers are to C strings and to lists of them that end with null.
    let step = unsafe {
        if !prepare(context) {
            Step::Prepare
        } else if libc::chdir(context.cwd) != 0 {
            Step::Cwd
        } else {
            execute_first(context);
            Step::Execute
        }
    };
    context.failure = Some(Failure {
        step,
        errno: nix::errno::Errno::last_raw(),
    });
    // SAFETY: ends the child at once, running nothing of the init's.
    unsafe { libc::_exit(127) }
}

/// SAFETY: to be called in the child only.
#[expect(unsafe_code, reason = "system calls between clone and execve")]
unsafe fn prepare(context: &Context) -> bool {
    // SAFETY: system calls on integers and on a local signal set.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        let die_with_parent = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0;
        die_with_parent
            && libc::getppid() == context.init // else the init died before that was set
            && libc::setpgid(0, 0) == 0
            && libc::dup2(context.fds[0], 0) == 0
            && libc::dup2(context.fds[1], 1) == 1
            && libc::dup2(context.fds[2], 2) == 2
            && (context.nice == 0 || give_way(context.nice))
            && libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) == 0
    }
}

/// SAFETY: to be called in the child only.
#[expect(unsafe_code, reason = "setpriority(2) has no safe wrapper")]
unsafe fn give_way(nice: c_int) -> bool {
    // SAFETY: system calls on integers.
    unsafe {
        let own = libc::getpriority(libc::PRIO_PROCESS, 0);
        // Raising one's own number is always allowed.
        libc::setpriority(libc::PRIO_PROCESS, 0, own + nice) == 0
    }
}

/// Executes the first path that can be; returns with errno set when there is none. "Not allowed"
/// says more than "not found" and is kept over it, as execvp(3) does.
///
/// SAFETY: to be called in the child only.
#[expect(unsafe_code, reason = "execve")]
unsafe fn execute_first(context: &Context) {
    let mut denied = false;
    let mut next = context.paths;
    nix::errno::Errno::ENOENT.set();
    // SAFETY: the list ends with null and holds C strings, as do the other two.
    unsafe {
        while !(*next).is_null() {
            libc::execve(*next, context.args, context.env);
            match nix::errno::Errno::last_raw() {
                libc::EACCES => denied = true,
                libc::ENOENT | libc::ENOTDIR => {}
                _ => return,
            }
            next = next.add(1);
        }
    }
    if denied {
        nix::errno::Errno::EACCES.set();
    }
}

/// A child that ended and was not reaped yet; it stays so, and its number stays taken.
#[expect(unsafe_code, reason = "waitid(2): nix refuses real-time signals")]
pub(super) fn ended_child() -> Option<i32> {
    // SAFETY: fills in a siginfo of ours; zeroed is a valid one, and stays so when there is none.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let result = libc::waitid(libc::P_ALL, 0, &raw mut info, flags);
        (result == 0 && info.si_pid() != 0).then(|| info.si_pid())
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    /// Wall time is left at zero.
    pub(super) usage: Usage,
}

/// Takes leave of a child that ended.
#[expect(unsafe_code, reason = "wait4(2) has no safe wrapper")]
pub(super) fn reap(pid: i32) -> Exit {
    let mut status = 0;
    // SAFETY: fills in an integer and an rusage of ours.
    let rusage = unsafe {
        let mut rusage: libc::rusage = std::mem::zeroed();
        while libc::wait4(pid, &raw mut status, 0, &raw mut rusage) == -1
            && nix::errno::Errno::last() == nix::errno::Errno::EINTR
        {}
        rusage
    };
    Exit {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        usage: usage_of(&rusage),
    }
}

/// Units as in getrusage(2): KiB of memory, blocks of 512 bytes.
fn usage_of(rusage: &libc::rusage) -> Usage {
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    let us = |time: libc::timeval| count(time.tv_sec) * 1_000_000 + count(time.tv_usec);
    Usage {
        wall_us: 0,
        user_us: us(rusage.ru_utime),
        system_us: us(rusage.ru_stime),
        memory_peak: count(rusage.ru_maxrss) * 1024,
        io_read: count(rusage.ru_inblock) * 512,
        io_written: count(rusage.ru_oublock) * 512,
        waits: count(rusage.ru_nvcsw),
        preemptions: count(rusage.ru_nivcsw),
        cpu_waited_us: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_up_along_the_path_it_is_given() {
        let start = |program: &str, path: &str| Start {
            program: program.into(),
            env: vec![("PATH".into(), path.into())],
            ..Start::default()
        };
        assert_eq!(candidates(&start("sh", "/a:/b")), ["/a/sh", "/b/sh"]);
        assert_eq!(candidates(&start("/x/sh", "/a:/b")), ["/x/sh"]);
        assert_eq!(candidates(&start("", "/a")), [""]);
        let bare = Start {
            program: "sh".into(),
            ..Start::default()
        };
        assert_eq!(candidates(&bare), ["/bin/sh", "/usr/bin/sh"]);
    }
}
