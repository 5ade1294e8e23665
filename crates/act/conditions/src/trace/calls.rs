//! Which system calls each condition is about, and where their arguments are.

use crate::plan::Traced;
use crate::trace::filter::{Only, Rule};
use crate::trace::ptrace::Call;

/// What a call works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A path, by the places of its directory's descriptor, if it has one, and its own.
    Path(Option<usize>, usize),
    /// An open file, by the place of its descriptor, and which way data moves.
    File(usize, Moves),
    /// It sends over, or connects, a socket: the place of its descriptor.
    Socket(usize),
}

/// Which way data moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moves {
    /// No data moves.
    None,
    /// Into the program.
    In,
    /// Out of it.
    Out,
}

/// Calls that take a path.
const PATHS: &[(i64, Option<usize>, usize)] = &[
    (libc::SYS_openat, Some(0), 1),
    (libc::SYS_openat2, Some(0), 1),
    (libc::SYS_statx, Some(0), 1),
    (libc::SYS_newfstatat, Some(0), 1),
    (libc::SYS_faccessat, Some(0), 1),
    (libc::SYS_faccessat2, Some(0), 1),
    (libc::SYS_readlinkat, Some(0), 1),
    (libc::SYS_unlinkat, Some(0), 1),
    (libc::SYS_renameat, Some(0), 1),
    (libc::SYS_renameat2, Some(0), 1),
    (libc::SYS_mkdirat, Some(0), 1),
    (libc::SYS_linkat, Some(2), 3),
    (libc::SYS_symlinkat, Some(1), 2),
    (libc::SYS_fchmodat, Some(0), 1),
    (libc::SYS_fchownat, Some(0), 1),
    (libc::SYS_utimensat, Some(0), 1),
    (libc::SYS_truncate, None, 0),
];

/// Those that newer processors do not have.
#[cfg(target_arch = "x86_64")]
const OLD_PATHS: &[(i64, Option<usize>, usize)] = &[
    (libc::SYS_open, None, 0),
    (libc::SYS_creat, None, 0),
    (libc::SYS_stat, None, 0),
    (libc::SYS_lstat, None, 0),
    (libc::SYS_access, None, 0),
    (libc::SYS_readlink, None, 0),
    (libc::SYS_unlink, None, 0),
    (libc::SYS_rmdir, None, 0),
    (libc::SYS_mkdir, None, 0),
    (libc::SYS_rename, None, 0),
    (libc::SYS_link, None, 1),
    (libc::SYS_symlink, None, 1),
    (libc::SYS_chmod, None, 0),
    (libc::SYS_chown, None, 0),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_PATHS: &[(i64, Option<usize>, usize)] = &[];

/// Those that only look at what is there.
const LOOKS: &[i64] = &[
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
];
#[cfg(target_arch = "x86_64")]
const OLD_LOOKS: &[i64] = &[libc::SYS_stat, libc::SYS_lstat, libc::SYS_access];
#[cfg(not(target_arch = "x86_64"))]
const OLD_LOOKS: &[i64] = &[];

/// Whether a call only looks at what a path names.
pub(crate) fn looks(number: i64) -> bool {
    LOOKS.contains(&number) || OLD_LOOKS.contains(&number)
}

/// Calls that take an open file.
const FILES: &[(i64, Moves)] = &[
    (libc::SYS_read, Moves::In),
    (libc::SYS_pread64, Moves::In),
    (libc::SYS_readv, Moves::In),
    (libc::SYS_preadv, Moves::In),
    (libc::SYS_preadv2, Moves::In),
    (libc::SYS_write, Moves::Out),
    (libc::SYS_pwrite64, Moves::Out),
    (libc::SYS_writev, Moves::Out),
    (libc::SYS_pwritev, Moves::Out),
    (libc::SYS_pwritev2, Moves::Out),
    (libc::SYS_fsync, Moves::None),
    (libc::SYS_fdatasync, Moves::None),
    (libc::SYS_sync_file_range, Moves::None),
    (libc::SYS_ftruncate, Moves::None),
    (libc::SYS_fallocate, Moves::None),
    (libc::SYS_getdents64, Moves::None),
];

/// Calls that send, or connect.
const SOCKETS: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendfile,
    libc::SYS_write,
    libc::SYS_writev,
];

impl Traced {
    /// Whether calls on files take longer.
    pub(crate) fn slows_files(&self) -> bool {
        !self.disk_delay.is_zero() || self.disk_rate.is_some()
    }

    /// Whether what is sent takes longer, or is lost.
    pub(crate) fn slows_network(&self) -> bool {
        !self.network_delay.is_zero() || self.network_rate.is_some() || self.network_loss > 0.0
    }
}

/// At which calls a program has to be stopped.
pub(crate) fn rules(traced: &Traced) -> Vec<Rule> {
    let always = |number| Rule {
        number,
        only: Only::Always,
    };
    // A program that traces others cannot be traced: see `Tracer::refused`.
    let mut rules = vec![always(libc::SYS_ptrace)];
    if traced.slows_files() {
        let paths = PATHS.iter().chain(OLD_PATHS);
        rules.extend(paths.map(|(number, ..)| always(*number)));
    }
    let mut on_files: Vec<i64> = Vec::new();
    if traced.slows_files() {
        on_files.extend(FILES.iter().map(|(number, _)| *number));
    }
    if traced.slows_network() {
        on_files.extend(SOCKETS);
    }
    if traced.directory.is_some() {
        on_files.push(libc::SYS_getdents64);
    }
    on_files.sort_unstable();
    on_files.dedup();
    rules.extend(on_files.into_iter().map(always));
    if traced.seed.is_some() {
        rules.push(always(libc::SYS_getrandom));
    }
    if traced.schedule.is_some() {
        // FUTEX_WAIT_BITSET_PRIVATE up to a time: so threads of CPython wait for their turn.
        rules.push(Rule {
            number: libc::SYS_futex,
            only: Only::EqualWith(1, 137, 3),
        });
    }
    if traced.clock.is_some() {
        rules.extend(clock_rules());
    }
    rules
}

/// Calls that tell the time of day or wait for one.
fn clock_rules() -> Vec<Rule> {
    let clock = |number, value| Rule {
        number,
        only: Only::Equal(0, value),
    };
    let mut rules = vec![
        clock(libc::SYS_clock_gettime, 0),
        // CLOCK_REALTIME_COARSE and CLOCK_TAI.
        clock(libc::SYS_clock_gettime, 5),
        clock(libc::SYS_clock_gettime, 11),
        Rule {
            number: libc::SYS_gettimeofday,
            only: Only::Always,
        },
        clock(libc::SYS_clock_nanosleep, 0),
        // FUTEX_CLOCK_REALTIME.
        Rule {
            number: libc::SYS_futex,
            only: Only::Bits(1, 256),
        },
    ];
    #[cfg(target_arch = "x86_64")]
    rules.push(Rule {
        number: libc::SYS_time,
        only: Only::Always,
    });
    rules.extend([libc::SYS_timerfd_settime].map(|number| Rule {
        number,
        only: Only::Bits(1, 1),
    }));
    rules
}

/// What a call that was stopped works on, if that matters for speed.
pub(crate) fn target(call: &Call, traced: &Traced) -> Vec<Target> {
    let mut targets = Vec::new();
    if traced.slows_files() {
        let mut paths = PATHS.iter().chain(OLD_PATHS);
        if let Some((_, at, path)) = paths.find(|(number, ..)| *number == call.number) {
            targets.push(Target::Path(*at, *path));
        }
        if let Some((_, moves)) = FILES.iter().find(|(number, _)| *number == call.number) {
            targets.push(Target::File(0, *moves));
        }
    }
    if traced.slows_network() && SOCKETS.contains(&call.number) {
        targets.push(Target::Socket(0));
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_computing_program_is_stopped_nowhere_for_disturbance() {
        let traced = Traced {
            schedule: Some(1),
            ..Traced::default()
        };
        let numbers: Vec<i64> = rules(&traced).iter().map(|rule| rule.number).collect();
        assert_eq!(numbers, [libc::SYS_ptrace, libc::SYS_futex]);
    }

    #[test]
    fn a_write_may_be_to_a_file_and_to_a_socket() {
        let traced = Traced {
            disk_delay: std::time::Duration::from_micros(1),
            network_loss: 0.5,
            ..Traced::default()
        };
        let call = Call {
            number: libc::SYS_write,
            arguments: [5, 0, 0, 0, 0, 0],
        };
        assert_eq!(
            target(&call, &traced),
            [Target::File(0, Moves::Out), Target::Socket(0)]
        );
        let writes = rules(&traced);
        let writes = writes.iter().filter(|rule| rule.number == libc::SYS_write);
        assert_eq!(writes.count(), 1);
    }
}
