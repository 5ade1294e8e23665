//! At which system calls the kernel stops a program: a filter for `seccomp(2)`, in classic BPF.
//!
//! All others run as fast as without a tracer, or nearly so. Calls of another architecture (32-bit
//! programs) are let through: their numbers mean other calls.

use std::io;

use crate::plan::Traced;
use crate::trace::calls;

/// `AUDIT_ARCH_...` of what this is built for.
#[cfg(target_arch = "x86_64")]
pub(crate) const ARCH: u32 = 0xc000_003e;
/// `AUDIT_ARCH_...` of what this is built for.
#[cfg(target_arch = "aarch64")]
pub(crate) const ARCH: u32 = 0xc000_00b7;
/// None is this: nothing is stopped.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) const ARCH: u32 = u32::MAX;

/// Where `struct seccomp_data` has the number, the architecture, the first and the second argument's
/// lower half (little endian).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT: u32 = 16;

/// A call at which to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Its number.
    pub(crate) number: i64,
    /// Only then.
    pub(crate) only: Only,
}

/// When a call is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Only {
    /// Whenever.
    Always,
    /// When this argument's lower half is this.
    Equal(u32, u32),
    /// When this argument's lower half has one of these bits.
    Bits(u32, u32),
    /// When this argument's lower half is this, and that of another is not 0.
    EqualWith(u32, u32, u32),
}

/// A filter, ready to be installed after a fork.
#[derive(Clone, Debug)]
pub(crate) struct Filter(Vec<libc::sock_filter>);

impl Filter {
    /// For what is to be done.
    pub(crate) fn of(traced: &Traced) -> Filter {
        Filter::stopping_at(&calls::rules(traced))
    }

    /// For these calls.
    pub(crate) fn stopping_at(rules: &[Rule]) -> Filter {
        let mut program = vec![
            load(ARCHITECTURE),
            jump(libc::BPF_JEQ, ARCH, 1, 0),
            allow(),
            load(NUMBER),
        ];
        for rule in rules {
            let Ok(number) = u32::try_from(rule.number) else {
                continue;
            };
            let stop = give(libc::SECCOMP_RET_TRACE);
            match rule.only {
                Only::Always => program.extend([jump(libc::BPF_JEQ, number, 0, 1), stop]),
                Only::Equal(place, value) => {
                    program.extend(block(number, place, jump(libc::BPF_JEQ, value, 0, 1)));
                }
                Only::EqualWith(place, value, other) => program.extend([
                    jump(libc::BPF_JEQ, number, 0, 6),
                    load(ARGUMENT + 8 * place),
                    jump(libc::BPF_JEQ, value, 0, 3),
                    load(ARGUMENT + 8 * other),
                    jump(libc::BPF_JEQ, 0, 1, 0),
                    stop,
                    load(NUMBER),
                ]),
                Only::Bits(place, value) => {
                    program.extend(block(number, place, jump(libc::BPF_JSET, value, 0, 1)));
                }
            }
        }
        program.push(allow());
        Filter(program)
    }

    /// Installs it for the calling thread and all it starts; allocates nothing. On failure gives the
    /// error's number.
    #[expect(unsafe_code, reason = "prctl(2) and seccomp(2)")]
    pub(crate) fn install(&self) -> Result<(), i32> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.0.len()).map_err(|_| libc::EINVAL)?,
            filter: self.0.as_ptr().cast_mut(),
        };
        let error = || {
            io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EINVAL)
        };
        // SAFETY: the kernel reads the program, which lives until it has.
        unsafe {
            let filter = || {
                let mode = libc::SECCOMP_SET_MODE_FILTER;
                libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program)
            };
            // With privileges nothing else changes. Without, programs that gain some do no more, which
            // they do not under a tracer without privileges anyway.
            if filter() == 0 {
                return Ok(());
            }
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || filter() != 0 {
                return Err(error());
            }
        }
        Ok(())
    }
}

/// When the number fits, an argument is loaded and compared; the number is loaded again after it.
fn block(number: u32, place: u32, compare: libc::sock_filter) -> [libc::sock_filter; 5] {
    [
        jump(libc::BPF_JEQ, number, 0, 4),
        load(ARGUMENT + 8 * place),
        compare,
        give(libc::SECCOMP_RET_TRACE),
        load(NUMBER),
    ]
}

fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn allow() -> libc::sock_filter {
    give(libc::SECCOMP_RET_ALLOW)
}

fn give(what: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, what)
}

fn statement(code: u32, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt: 0,
        jf: 0,
        k: value,
    }
}

fn jump(test: u32, value: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter {
        jt: yes,
        jf: no,
        ..statement(libc::BPF_JMP | test | libc::BPF_K, value)
    }
}
