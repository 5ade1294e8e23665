//! Changing a system call while it is stopped at its beginning, or what it returned at its end.
//! Which registers those are is the processor's own; others than x86-64 are not written yet, and
//! [`KNOWN`] says so.

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{KNOWN, call_again, set_argument, skip};

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use other::{KNOWN, call_again, set_argument, skip};

/// Whether a signal waits for a thread that does not block it; told of none where that cannot be read.
#[cfg(target_arch = "x86_64")]
fn has_signal(tid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let set = |name: &str| {
        let mut lines = status.lines();
        let text = lines.find_map(|line| line.strip_prefix(name));
        text.and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
            .unwrap_or(0)
    };
    (set("SigPnd:") | set("ShdPnd:")) & !set("SigBlk:") != 0
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use nix::sys::ptrace::{getregs, setregs};
    use nix::unistd::Pid;

    /// Whether system calls can be changed on this processor.
    pub(crate) const KNOWN: bool = true;

    /// The call is not made; this is what it returns.
    pub(crate) fn skip(tid: i32, result: i64) -> bool {
        let tid = Pid::from_raw(tid);
        let Ok(mut registers) = getregs(tid) else {
            return false;
        };
        registers.orig_rax = u64::MAX;
        registers.rax = result.cast_unsigned();
        setregs(tid, registers).is_ok()
    }

    /// Calls that are broken off with `EINTR` by a stop although no handler of a signal has run (signal(7),
    /// "Interruption of system calls and library functions by stop signals"), and where it does no harm to make them
    /// once more.
    const BROKEN_OFF: [i64; 17] = [
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_semop,
        libc::SYS_semtimedop,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_io_getevents,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
    ];
    /// Bytes of the instruction `syscall`.
    const CALL_BYTES: u64 = 2;

    /// A thread that is stopped behind a call that was broken off makes it once more, unless a signal of the program's
    /// own is about to be handled. A time limit of the call begins anew.
    pub(crate) fn call_again(tid: i32) {
        let pid = Pid::from_raw(tid);
        let Ok(mut registers) = getregs(pid) else {
            return;
        };
        let broken_off = registers.rax.cast_signed() == -i64::from(libc::EINTR)
            && BROKEN_OFF.contains(&registers.orig_rax.cast_signed());
        if broken_off && !super::has_signal(tid) {
            registers.rax = registers.orig_rax;
            registers.rip = registers.rip.wrapping_sub(CALL_BYTES);
            // One that is gone calls nothing.
            let _ = setregs(pid, registers);
        }
    }

    /// Sets an argument of a call, by its place.
    pub(crate) fn set_argument(tid: i32, place: usize, value: u64) -> bool {
        let tid = Pid::from_raw(tid);
        let Ok(mut registers) = getregs(tid) else {
            return false;
        };
        match place {
            0 => registers.rdi = value,
            1 => registers.rsi = value,
            2 => registers.rdx = value,
            3 => registers.r10 = value,
            4 => registers.r8 = value,
            _ => registers.r9 = value,
        }
        setregs(tid, registers).is_ok()
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod other {
    /// Whether system calls can be changed on this processor.
    pub(crate) const KNOWN: bool = false;

    /// Not on this processor.
    pub(crate) fn call_again(_: i32) {}

    /// Not on this processor.
    pub(crate) fn skip(_: i32, _: i64) -> bool {
        false
    }

    /// Not on this processor.
    pub(crate) fn set_argument(_: i32, _: usize, _: u64) -> bool {
        false
    }
}
