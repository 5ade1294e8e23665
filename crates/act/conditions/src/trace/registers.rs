//! Changing a system call while it is stopped at its beginning, or what it returned at its end.
//! Which registers those are is the processor's own; others than x86-64 are not written yet, and
//! [`KNOWN`] says so.

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{KNOWN, set_argument, skip};

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use other::{KNOWN, set_argument, skip};

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
    pub(crate) fn skip(_: i32, _: i64) -> bool {
        false
    }

    /// Not on this processor.
    pub(crate) fn set_argument(_: i32, _: usize, _: u64) -> bool {
        false
    }
}
