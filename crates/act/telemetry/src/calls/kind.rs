//! Which system call is of which kind.

use libc::c_long;

/// What a system call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// Opening, reading, writing, syncing, closing: files, and sockets used like files.
    File,
    /// Connecting, accepting, sending, receiving.
    Network,
    /// Mapping, unmapping, growing the heap, advice.
    Memory,
    /// Waiting for a lock of another thread or waking its waiters (futex): nothing but contention
    /// makes a program call it.
    Lock,
    /// Waiting for descriptors or time.
    Waiting,
    /// Making, becoming and ending processes and threads.
    Process,
    /// All, of whatever kind.
    All,
}

/// In the order in which they are counted. The first leads, so it is the one without a filter.
pub(super) const ALL: [CallKind; 7] = [
    CallKind::All,
    CallKind::File,
    CallKind::Network,
    CallKind::Memory,
    CallKind::Lock,
    CallKind::Waiting,
    CallKind::Process,
];

/// Calls by kind, cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// [`CallKind::File`].
    pub file: u64,
    /// [`CallKind::Network`].
    pub network: u64,
    /// [`CallKind::Memory`].
    pub memory: u64,
    /// [`CallKind::Lock`].
    pub lock: u64,
    /// [`CallKind::Waiting`].
    pub waiting: u64,
    /// [`CallKind::Process`].
    pub process: u64,
    /// All, those of no kind included.
    pub all: u64,
}

impl CallCounts {
    /// What was called between `earlier` and this.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            file: self.file.saturating_sub(earlier.file),
            network: self.network.saturating_sub(earlier.network),
            memory: self.memory.saturating_sub(earlier.memory),
            lock: self.lock.saturating_sub(earlier.lock),
            waiting: self.waiting.saturating_sub(earlier.waiting),
            process: self.process.saturating_sub(earlier.process),
            all: self.all.saturating_sub(earlier.all),
        }
    }

    pub(super) fn of_mut(&mut self, kind: CallKind) -> &mut u64 {
        match kind {
            CallKind::File => &mut self.file,
            CallKind::Network => &mut self.network,
            CallKind::Memory => &mut self.memory,
            CallKind::Lock => &mut self.lock,
            CallKind::Waiting => &mut self.waiting,
            CallKind::Process => &mut self.process,
            CallKind::All => &mut self.all,
        }
    }
}

impl CallKind {
    /// The filter of its event: `(id >= 0 && id <= 6) || id == 8`. Neighbours are joined, since the
    /// kernel goes through all of it at each call of another kind.
    pub(super) fn filter(self) -> Option<String> {
        let mut calls = self.calls().concat();
        calls.sort_unstable();
        let runs = calls.chunk_by(|call, next| call + 1 == *next);
        let run = |run: &[c_long]| match run {
            [first, .., last] => format!("(id >= {first} && id <= {last})"),
            [only] => format!("id == {only}"),
            [] => String::new(),
        };
        let all: Vec<String> = runs.map(run).collect();
        (!all.is_empty()).then(|| all.join(" || "))
    }

    /// Those of every architecture, and those that only older ones have.
    fn calls(self) -> [&'static [c_long]; 2] {
        match self {
            Self::File => [FILE, legacy::FILE],
            Self::Network => [NETWORK, &[]],
            Self::Memory => [MEMORY, &[]],
            Self::Lock => [&[libc::SYS_futex], &[]],
            Self::Waiting => [WAITING, legacy::WAITING],
            Self::Process => [PROCESS, legacy::PROCESS],
            Self::All => [&[], &[]],
        }
    }
}

const FILE: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_statx,
    libc::SYS_fstat,
    libc::SYS_getdents64,
    libc::SYS_truncate,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_faccessat,
    libc::SYS_sendfile,
    libc::SYS_copy_file_range,
];
const NETWORK: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_socketpair,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
];
const MEMORY: &[c_long] = &[
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mincore,
];
const WAITING: &[c_long] = &[
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
];
const PROCESS: &[c_long] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_kill,
];

#[cfg(target_arch = "x86_64")]
mod legacy {
    use libc::c_long;

    pub(super) const FILE: &[c_long] = &[
        libc::SYS_open,
        libc::SYS_creat,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_newfstatat,
        libc::SYS_access,
        libc::SYS_unlink,
        libc::SYS_rename,
        libc::SYS_mkdir,
    ];
    pub(super) const WAITING: &[c_long] = &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_select];
    pub(super) const PROCESS: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork];
}

#[cfg(not(target_arch = "x86_64"))]
mod legacy {
    use libc::c_long;

    pub(super) const FILE: &[c_long] = &[];
    pub(super) const WAITING: &[c_long] = &[];
    pub(super) const PROCESS: &[c_long] = &[];
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn no_call_is_of_two_kinds() {
        let mut kinds = BTreeMap::new();
        for kind in ALL {
            for call in kind.calls().iter().flat_map(|calls| calls.iter()) {
                let other = kinds.insert(*call, kind);
                assert_eq!(other, None, "call {call} is of kind {kind:?} too");
            }
        }
        assert!(kinds.len() > 50);
        assert_eq!(CallKind::All.filter(), None);
        let lock = format!("id == {}", libc::SYS_futex);
        assert_eq!(CallKind::Lock.filter(), Some(lock));
    }
}
