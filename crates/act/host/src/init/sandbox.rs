//! Entering the instance: first its cgroups, then its namespaces.
//!
//! ```text
//! write "0" to procs files -> unshare (user when unprivileged, mount, net, pid)
//!   -> mounts private, scratch over /tmp -> loopback up -> fork: pid 1 of the new namespace, own /proc
//! ```
//!
//! Promise: what was asked for is there afterwards, or there is an error that says what is not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cohort_model::Isolation;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{ForkResult, fork, getegid, geteuid};

use super::child;
use super::protocol::Setup;

/// What a private `/tmp` hides.
const TEMPORARY: &str = "/tmp";

/// Why the instance is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "enter cgroup of instance i{instance} by {}: {source}; it must exist and be writable for this user",
        procs_file.display()
    )]
    Cgroup {
        instance: u32,
        procs_file: PathBuf,
        source: io::Error,
    },
    #[error(
        "enter the network of process {pid} for instance i{instance}: {source}; it must run, and this must be root"
    )]
    Network {
        instance: u32,
        pid: i32,
        source: io::Error,
    },
    #[error(
        "make {what} private for instance i{instance}: {source}; run as root, allow unprivileged user namespaces, \
         or ask for less isolation"
    )]
    Unshare {
        instance: u32,
        what: String,
        source: io::Error,
    },
    #[error(
        "map users in the user namespace of instance i{instance} by {file}: {source}; run as root or ask for less isolation"
    )]
    MapUsers {
        instance: u32,
        file: &'static str,
        source: io::Error,
    },
    #[error("mount {what} on {} for instance i{instance}: {source}; run as root or ask for less isolation", target.display())]
    Mount {
        instance: u32,
        what: String,
        target: PathBuf,
        source: io::Error,
    },
    #[error("keep {} visible in instance i{instance}: {source}; it must be an existing path", path.display())]
    Visible {
        instance: u32,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "bring up the loopback interface of instance i{instance}: {source}; ask for less isolation"
    )]
    Loopback { instance: u32, source: io::Error },
    #[error("fork pid 1 of instance i{instance}: {source}; lower the number of instances")]
    Fork { instance: u32, source: io::Error },
}

/// Enters what `setup` describes, and gives what could not be had although the instance is sound.
///
/// With a private pid namespace this forks: it returns in the process that is pid 1 there, while
/// the outer one waits for it and ends as it ended.
pub(super) fn enter(setup: &Setup) -> Result<Vec<String>, Error> {
    let instance = setup.instance;
    for procs_file in &setup.procs_files {
        let entered = OpenOptions::new()
            .write(true)
            .open(procs_file)
            .and_then(|mut it| it.write_all(b"0"));
        entered.map_err(|source| Error::Cgroup {
            instance,
            procs_file: procs_file.clone(),
            source,
        })?;
    }
    if let Some(pid) = setup.network_of {
        enter_network(pid).map_err(|source| Error::Network {
            instance,
            pid,
            source,
        })?;
    }
    let wanted = Isolation {
        mount: setup.isolation.mount || setup.isolation.pid,
        ..setup.isolation
    };
    if wanted == Isolation::default() {
        return Ok(Vec::new());
    }
    unshare_all(instance, wanted)?;
    let mut missing = Vec::new();
    if wanted.mount {
        mount_at(
            instance,
            None,
            Path::new("/"),
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        )?;
        missing.extend(hide_temporary(setup)?);
    }
    if wanted.net {
        loopback_up().map_err(|source| Error::Loopback { instance, source })?;
    }
    if wanted.pid {
        become_first(instance)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount_at(instance, Some("proc"), Path::new("/proc"), flags)?;
    }
    Ok(missing)
}

/// With privileges if they are there, otherwise within a user namespace of its own.
fn enter_network(pid: i32) -> io::Result<()> {
    let network = File::open(format!("/proc/{pid}/ns/net"))?;
    Ok(setns(network, CloneFlags::CLONE_NEWNET)?)
}

fn unshare_all(instance: u32, wanted: Isolation) -> Result<(), Error> {
    let parts = [
        (wanted.mount, CloneFlags::CLONE_NEWNS, "mounts"),
        (wanted.pid, CloneFlags::CLONE_NEWPID, "process ids"),
        (wanted.net, CloneFlags::CLONE_NEWNET, "network"),
    ];
    let parts = || parts.iter().filter(|part| part.0);
    let flags = parts().map(|part| part.1).collect::<CloneFlags>();
    let (user, group) = (geteuid(), getegid());
    match unshare(flags) {
        Err(Errno::EPERM) => unshare(flags | CloneFlags::CLONE_NEWUSER),
        other => {
            return other.map_err(|errno| unshare_error(instance, parts().map(|it| it.2), errno));
        }
    }
    .map_err(|errno| unshare_error(instance, parts().map(|it| it.2), errno))?;
    // setgroups must be given up before a group may be mapped: user_namespaces(7).
    for (file, line) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{user} {user} 1")),
        ("/proc/self/gid_map", format!("{group} {group} 1")),
    ] {
        fs::write(file, line).map_err(|source| Error::MapUsers {
            instance,
            file,
            source,
        })?;
    }
    Ok(())
}

fn unshare_error<'a>(instance: u32, parts: impl Iterator<Item = &'a str>, errno: Errno) -> Error {
    Error::Unshare {
        instance,
        what: parts.collect::<Vec<_>>().join(", "),
        source: errno.into(),
    }
}

fn mount_at(instance: u32, kind: Option<&str>, target: &Path, flags: MsFlags) -> Result<(), Error> {
    mount(kind, target, kind, flags, None::<&str>).map_err(|errno| Error::Mount {
        instance,
        what: kind.unwrap_or("nothing (to make it private)").to_owned(),
        target: target.to_path_buf(),
        source: errno.into(),
    })
}

/// Lays the scratch directory over `/tmp`, and on top of it what must stay visible, the scratch
/// directory under its usual name included.
fn hide_temporary(setup: &Setup) -> Result<Option<String>, Error> {
    let instance = setup.instance;
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in setup.visible.iter().chain([&setup.scratch]) {
        let real = fs::canonicalize(path).map_err(|source| Error::Visible {
            instance,
            path: path.clone(),
            source,
        })?;
        if Path::new(TEMPORARY) == real {
            return Ok(Some(format!(
                "a private {TEMPORARY} for instance i{instance}: {} itself must stay visible",
                path.display()
            )));
        }
        kept.push(real);
    }
    kept.retain(|path| path.starts_with(TEMPORARY));
    kept.sort();
    kept.dedup_by(|inner, outer| inner.starts_with(outer));
    let pinned: Vec<(PathBuf, OwnedFd)> = kept
        .into_iter()
        .map(|path| match pin(&path) {
            Ok(fd) => Ok((path, fd)),
            Err(source) => Err(Error::Visible {
                instance,
                path,
                source,
            }),
        })
        .collect::<Result<_, _>>()?;
    bind(instance, &setup.scratch, Path::new(TEMPORARY))?;
    for (path, fd) in pinned {
        let source = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        make_mountpoint(&source, &path).map_err(|source| Error::Visible {
            instance,
            path: path.clone(),
            source,
        })?;
        bind(instance, &source, &path)?;
    }
    Ok(None)
}

/// Holds on to a path that is about to be hidden.
fn pin(path: &Path) -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)?;
    Ok(OwnedFd::from(file))
}

fn make_mountpoint(source: &Path, path: &Path) -> io::Result<()> {
    if fs::metadata(source)?.is_dir() {
        return fs::create_dir_all(path);
    }
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    File::create(path).map(drop)
}

fn bind(instance: u32, source: &Path, target: &Path) -> Result<(), Error> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, None::<&str>, flags, None::<&str>).map_err(|errno| Error::Mount {
        instance,
        what: source.display().to_string(),
        target: target.to_path_buf(),
        source: errno.into(),
    })
}

/// A new network namespace has only `lo`, and that is down: netdevice(7).
#[expect(unsafe_code, reason = "ioctl on an interface has no safe wrapper")]
fn loopback_up() -> io::Result<()> {
    let any = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: the request is zeroed, so its name ends with a NUL, and both calls get the type that
    // they expect; the union's flags are what SIOCGIFFLAGS fills in.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l'.cast_signed();
        request.ifr_name[1] = b'o'.cast_signed();
        if libc::ioctl(any.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) == -1 {
            return Err(io::Error::last_os_error());
        }
        request.ifr_ifru.ifru_flags |= i16::try_from(libc::IFF_UP).expect("a small flag");
        if libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Returns as pid 1 of the pid namespace that was made before. The outer process only waits: its
/// end is the end of pid 1, and the end of pid 1 is the end of all in the namespace.
#[expect(unsafe_code, reason = "fork(2)")]
fn become_first(instance: u32) -> Result<(), Error> {
    // SAFETY: there is one thread, so the child may do anything.
    match unsafe { fork() }.map_err(|errno| Error::Fork {
        instance,
        source: errno.into(),
    })? {
        ForkResult::Child => {
            let outer_is_gone = || Error::Fork {
                instance,
                source: io::ErrorKind::BrokenPipe.into(),
            };
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|_| outer_is_gone())
        }
        ForkResult::Parent { child } => {
            // Only pid 1 holds the socket, so that the hub sees its end.
            super::close_from(0);
            let exit = child::reap(child.as_raw());
            std::process::exit(exit.code.unwrap_or(128 + exit.signal.unwrap_or(0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_that_is_not_there_is_named() {
        let procs_file = PathBuf::from("/nowhere/cgroup.procs");
        let setup = Setup {
            instance: 3,
            procs_files: vec![procs_file],
            ..Setup::default()
        };
        let message = enter(&setup).unwrap_err().to_string();
        assert!(
            message.contains("i3") && message.contains("/nowhere/cgroup.procs"),
            "{message}"
        );
    }

    #[test]
    fn every_cgroup_is_entered_by_zero() {
        let folder = tempfile::tempdir().unwrap();
        let procs_files: Vec<PathBuf> = ["cpu", "memory"]
            .map(|name| folder.path().join(name))
            .into();
        for procs_file in &procs_files {
            fs::write(procs_file, "").unwrap();
        }
        let setup = Setup {
            procs_files: procs_files.clone(),
            ..Setup::default()
        };
        assert_eq!(enter(&setup).unwrap(), Vec::<String>::new());
        for procs_file in &procs_files {
            assert_eq!(fs::read_to_string(procs_file).unwrap(), "0");
        }
    }
}
