//! Events of perf (perf_event_open(2)), as far as counting needs them.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_ulong};

const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FORMAT_GROUP: u64 = 1 << 3;
/// The first bit of the attribute's flags.
const DISABLED: u64 = 1;
const PERF_FLAG_PID_CGROUP: c_ulong = 1 << 2;
const PERF_FLAG_FD_CLOEXEC: c_ulong = 1 << 3;
const PERF_IOC_FLAG_GROUP: c_ulong = 1;
/// `_IO('$', 0)` and `_IOW('$', 6, char *)`.
const PERF_EVENT_IOC_ENABLE: c_ulong = 0x2400;
const PERF_EVENT_IOC_SET_FILTER: c_ulong = 0x4000_2406 | ((size_of::<usize>() as c_ulong) << 16);

/// `struct perf_event_attr` as of its first version (PERF_ATTR_SIZE_VER0), which every kernel takes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    config1: u64,
}

/// An event that counts a tracepoint on one CPU while a process of a control group runs there. It
/// is in the group of `leader`; without one it leads a new group, which does not count yet.
#[expect(unsafe_code, reason = "there is no wrapper for perf_event_open")]
pub(super) fn open(
    tracepoint: u64,
    control_group: &File,
    cpu: u32,
    leader: Option<&OwnedFd>,
) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind: PERF_TYPE_TRACEPOINT,
        size: size_of::<Attributes>() as u32,
        config: tracepoint,
        read_format: PERF_FORMAT_GROUP,
        flags: if leader.is_none() { DISABLED } else { 0 },
        ..Attributes::default()
    };
    // SAFETY: the attributes outlive the call and have the size that they say.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            control_group.as_raw_fd(),
            cpu as c_int,
            leader.map_or(-1, AsRawFd::as_raw_fd),
            PERF_FLAG_PID_CGROUP | PERF_FLAG_FD_CLOEXEC,
        )
    };
    let descriptor = i32::try_from(descriptor).unwrap_or(-1);
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made it for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// From now on the event counts only what the filter lets pass (the kernel's trace/events.rst).
#[expect(unsafe_code, reason = "there is no wrapper for perf's ioctls")]
pub(super) fn set_filter(event: &OwnedFd, filter: &str) -> io::Result<()> {
    let filter = CString::new(filter)?;
    // SAFETY: a live descriptor of an event, and a text that ends and outlives the call.
    let set = unsafe {
        libc::ioctl(
            event.as_raw_fd(),
            PERF_EVENT_IOC_SET_FILTER as _,
            filter.as_ptr(),
        )
    };
    if set < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A leader's group begins to count.
#[expect(unsafe_code, reason = "there is no wrapper for perf's ioctls")]
pub(super) fn enable(leader: &OwnedFd) -> io::Result<()> {
    // SAFETY: a live descriptor of an event, and a flag.
    let enabled = unsafe {
        libc::ioctl(
            leader.as_raw_fd(),
            PERF_EVENT_IOC_ENABLE as _,
            PERF_IOC_FLAG_GROUP,
        )
    };
    if enabled < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The counts of a leader's group of `N`, in the order in which they were opened.
pub(super) fn read_group<const N: usize>(leader: &OwnedFd) -> io::Result<[u64; N]> {
    // How many there are, then each.
    let mut bytes = vec![0_u8; (N + 1) * size_of::<u64>()];
    let read = nix::unistd::read(leader, &mut bytes)?;
    let mut words = bytes[..read]
        .as_chunks()
        .0
        .iter()
        .map(|word| u64::from_ne_bytes(*word));
    if words.next() != Some(N as u64) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut counts = [0; N];
    counts
        .iter_mut()
        .zip(words)
        .for_each(|(count, word)| *count = word);
    Ok(counts)
}
