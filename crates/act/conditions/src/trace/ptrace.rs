//! The calls of `ptrace(2)` that are needed, with real-time signals, which nix's have no name for.

use std::io;
use std::mem::{MaybeUninit, size_of};

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

/// What every tracee reports, and that it is killed when its tracer is gone.
const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACESECCOMP
    | libc::PTRACE_O_EXITKILL;

/// How a stopped thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Go {
    /// To the next thing that it reports.
    On,
    /// To the next beginning or end of a system call.
    ToCall,
    /// For one instruction.
    Step,
    /// It stays stopped, as its whole process was told to, and reports when that is over.
    Listen,
}

/// Where in a system call a thread has stopped: `struct ptrace_syscall_info`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct CallInfo {
    op: u8,
    pad: [u8; 3],
    /// `AUDIT_ARCH_...`
    pub(crate) arch: u32,
    instruction: u64,
    /// The stack pointer.
    pub(crate) stack: u64,
    /// At a beginning: number, then six arguments. At an end: what it returned.
    words: [u64; 8],
}

/// What a system call is, at its beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Number.
    pub(crate) number: i64,
    /// Arguments.
    pub(crate) arguments: [u64; 6],
}

impl CallInfo {
    /// At its end: what it returned.
    pub(crate) fn result(&self) -> Option<i64> {
        let [result, ..] = self.words;
        (self.op == 2).then_some(result.cast_signed())
    }

    /// Where it stands, and where its stack ends.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.instruction, self.stack)
    }

    /// At its beginning, or where the filter stopped it.
    pub(crate) fn call(&self) -> Option<Call> {
        let [number, a, b, c, d, e, f, _] = self.words;
        (self.op == 1 || self.op == 3).then_some(Call {
            number: number.cast_signed(),
            arguments: [a, b, c, d, e, f],
        })
    }
}

#[expect(unsafe_code, reason = "ptrace(2)")]
fn request(request: impl Into<i64>, tid: i32, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: the callers pass numbers, or addresses of what is theirs and large enough.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, request.into(), tid, address, data) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Becomes the tracer of a process, which does not notice.
pub(crate) fn seize(pid: i32) -> io::Result<()> {
    let options = usize::try_from(OPTIONS).unwrap_or_default();
    request(libc::PTRACE_SEIZE, pid, 0, options)
}

/// Has a thread stop where it is.
pub(crate) fn interrupt(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0)
}

/// Lets a stopped thread go on, with a signal or without (0).
pub(crate) fn resume(tid: i32, go: Go, signal: i32) -> io::Result<()> {
    let kind = match go {
        Go::On => libc::PTRACE_CONT,
        Go::ToCall => libc::PTRACE_SYSCALL,
        Go::Step => libc::PTRACE_SINGLESTEP,
        Go::Listen => libc::PTRACE_LISTEN,
    };
    let signal = usize::try_from(signal).unwrap_or_default();
    request(kind, tid, 0, signal)
}

/// What an event is about: the new thread's id.
#[expect(unsafe_code, reason = "the kernel writes a number")]
pub(crate) fn message(tid: i32) -> io::Result<u64> {
    let mut message = MaybeUninit::<libc::c_ulong>::zeroed();
    let address = message.as_mut_ptr() as usize;
    request(libc::PTRACE_GETEVENTMSG, tid, 0, address)?;
    // SAFETY: zeroed above, so it is a number whatever was written.
    Ok(unsafe { message.assume_init() })
}

/// Where a stopped thread is in a system call.
pub(crate) fn call_info(tid: i32) -> io::Result<CallInfo> {
    let mut info = CallInfo::default();
    let address = &raw mut info as usize;
    let size = size_of::<CallInfo>();
    request(libc::PTRACE_GET_SYSCALL_INFO, tid, size, address)?;
    Ok(info)
}

/// What a thread has run that was let go on for one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// An instruction.
    Plain,
    /// One that was a system call.
    Call,
}

/// Whether a thread has stopped since it ran one instruction, rather than by a signal of its own.
#[expect(unsafe_code, reason = "the kernel writes a siginfo")]
pub(crate) fn has_stepped(tid: i32) -> Option<Stepped> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let address = info.as_mut_ptr() as usize;
    request(libc::PTRACE_GETSIGINFO, tid, 0, address).ok()?;
    // SAFETY: zeroed above: numbers, whatever was written.
    let info = unsafe { info.assume_init() };
    if info.si_signo != libc::SIGTRAP {
        return None;
    }
    // TRAP_TRACE after an instruction; on x86 TRAP_BRKPT after one that was a system call, where a
    // program's own breakpoints have another code (sigaction(2)).
    match info.si_code {
        libc::TRAP_TRACE => Some(Stepped::Plain),
        libc::TRAP_BRKPT if cfg!(target_arch = "x86_64") => Some(Stepped::Call),
        _ => None,
    }
}

/// The `siginfo_t` of the signal that a thread is stopped for.
pub(crate) fn signal_info(tid: i32) -> io::Result<Vec<u8>> {
    let mut info = vec![0; size_of::<libc::siginfo_t>()];
    let address = info.as_mut_ptr() as usize;
    request(libc::PTRACE_GETSIGINFO, tid, 0, address)?;
    Ok(info)
}

/// The general registers of a stopped thread, as an image of it has them.
pub(crate) fn registers(tid: i32) -> io::Result<Vec<u8>> {
    /// `NT_PRSTATUS`
    const GENERAL: usize = 1;
    let mut bytes = vec![0_u8; 1024];
    let mut vector = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let address = &raw mut vector as usize;
    request(libc::PTRACE_GETREGSET, tid, GENERAL, address)?;
    bytes.truncate(vector.iov_len);
    Ok(bytes)
}

/// Reads memory of a process; gives how much could be read.
pub(crate) fn read(pid: i32, address: u64, into: &mut [u8]) -> usize {
    let (Ok(base), len) = (usize::try_from(address), into.len()) else {
        return 0;
    };
    let remote = [RemoteIoVec { base, len }];
    let mut local = [io::IoSliceMut::new(into)];
    process_vm_readv(Pid::from_raw(pid), &mut local, &remote).unwrap_or(0)
}

/// Writes all of it into the memory of a process, or says that it could not.
pub(crate) fn write(pid: i32, address: u64, bytes: &[u8]) -> bool {
    let (Ok(base), len) = (usize::try_from(address), bytes.len()) else {
        return false;
    };
    let remote = [RemoteIoVec { base, len }];
    let local = [io::IoSlice::new(bytes)];
    process_vm_writev(Pid::from_raw(pid), &local, &remote) == Ok(len)
}

/// Reads whole words; fewer when memory ends.
pub(crate) fn read_words(pid: i32, address: u64, count: usize) -> Vec<u64> {
    let mut bytes = vec![0; count * 8];
    let read = read(pid, address, &mut bytes);
    (bytes.get(..read).unwrap_or_default().chunks_exact(8))
        .filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?)))
        .collect()
}

/// Reads a text that ends in a zero byte, up to the longest path.
pub(crate) fn read_text(pid: i32, address: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    while text.len() < 4096 {
        // Up to the end of a page: the next one need not be there.
        let at = address + text.len() as u64;
        let mut bytes = vec![0; usize::try_from(256 - at % 256).ok()?];
        let read = read(pid, at, &mut bytes);
        let bytes = bytes.get(..read).filter(|bytes| !bytes.is_empty())?;
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            text.extend_from_slice(bytes.get(..end)?);
            return Some(text);
        }
        text.extend_from_slice(bytes);
    }
    None
}
