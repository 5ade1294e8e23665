//! How long a system call on a file or a socket is delayed, and which messages are lost.
//!
//! Files: what belongs to the program rather than to its data is not delayed, so that a slow disk does
//! not merely mean a slow start: everything below the system's directories, below directories that hold
//! installed packages, and files of code (`is_program`). Nor are looks at whether a directory is there, which a kernel
//! answers from memory: an interpreter looks at the folder that it was started in for each module that it loads.
//! Neither are the files that the caller gave as the three streams. Memory that is mapped, and `io_uring`, are not seen.
//!
//! Sockets: of the internet, loopback included; not those within a host (`AF_UNIX`). A lost datagram is
//! never sent, and the program believes it was. Over a connection nothing is lost: it is late by a
//! retransmission (200 ms, the least that Linux waits; 1 s for a connection's first packet, RFC 6298).

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::plan::Traced;
use crate::random::Random;
use crate::trace::calls::{self, Moves, Target, target};
use crate::trace::ptrace::{Call, read_text, read_words, write};

/// What a lost packet of a connection costs.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// What a lost first packet of one costs.
const FIRST_RETRANSMISSION: Duration = Duration::from_secs(1);
/// More sockets than this are not remembered.
const SOCKETS_MAX: usize = 10_000;
/// Pieces of one message that are looked at.
const PIECES_MAX: usize = 1024;
/// Bytes that each message carries beside its own: IP and TCP headers, roughly.
const HEADERS: u64 = 52;

/// What a call is to suffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// It waits so long before it is made.
    pub(crate) delay: Duration,
    /// It is not made at all, and returns this.
    pub(crate) lost: Option<i64>,
}

/// What kind of socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Socket {
    Stream,
    Datagram,
    Other,
}

/// State of what is slow.
#[derive(Debug)]
pub(crate) struct Slow {
    random: Random,
    sockets: HashMap<u64, Socket>,
    /// The caller's files.
    streams: Vec<(u64, u64)>,
    line_free: Option<Instant>,
    disk_free: Option<Instant>,
}

impl Slow {
    pub(crate) fn new(seed: u64) -> Slow {
        Slow {
            random: Random::new(seed),
            sockets: HashMap::new(),
            streams: (0..3)
                .filter_map(|fd| fs::metadata(format!("/proc/self/fd/{fd}")).ok())
                .map(|file| identity(&file))
                .collect(),
            line_free: None,
            disk_free: None,
        }
    }

    /// Of a call of a thread that is stopped before it.
    pub(crate) fn judge(
        &mut self,
        (pid, tid): (i32, i32),
        call: &Call,
        traced: &Traced,
        now: Instant,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        for target in target(call, traced) {
            match target {
                Target::Path(at, path) => {
                    let path = path_of(pid, tid, call, at, path);
                    let is_data = path.is_some_and(|path| {
                        !is_program(&path) && (!calls::looks(call.number) || !path.is_dir())
                    });
                    if is_data {
                        verdict.delay += traced.disk_delay;
                    }
                }
                Target::File(place, moves) => {
                    verdict.delay += self.on_file(tid, call, place, moves, traced, now);
                }
                Target::Socket(place) => {
                    let socket = self.socket(pid, tid, argument(call, place));
                    if socket != Socket::Other {
                        self.on_socket(pid, call, socket, traced, now, &mut verdict);
                    }
                }
            }
        }
        verdict
    }

    fn on_file(
        &mut self,
        tid: i32,
        call: &Call,
        place: usize,
        moves: Moves,
        traced: &Traced,
        now: Instant,
    ) -> Duration {
        let link = PathBuf::from(format!("/proc/{tid}/fd/{}", argument(call, place)));
        let Ok(path) = fs::read_link(&link) else {
            return Duration::ZERO;
        };
        if !path.is_absolute() || is_program(&path) {
            return Duration::ZERO;
        }
        let file = fs::metadata(&link).ok();
        if (file.as_ref()).is_some_and(|file| self.streams.contains(&identity(file))) {
            return Duration::ZERO;
        }
        let mut delay = traced.disk_delay;
        if let (Some(rate), true) = (traced.disk_rate, moves != Moves::None) {
            let mut bytes = length(tid, call);
            if moves == Moves::In {
                bytes = bytes.min(file.map_or(0, |file| file.len()));
            }
            delay += paced(&mut self.disk_free, now, bytes, rate);
        }
        delay
    }

    fn on_socket(
        &mut self,
        pid: i32,
        call: &Call,
        socket: Socket,
        traced: &Traced,
        now: Instant,
        verdict: &mut Verdict,
    ) {
        let connects = call.number == libc::SYS_connect;
        if connects && socket == Socket::Datagram {
            return;
        }
        verdict.delay += traced.network_delay;
        let bytes = if connects { 0 } else { length(pid, call) };
        if let Some(rate) = traced.network_rate {
            let bits = (bytes + HEADERS).saturating_mul(8);
            verdict.delay += paced(&mut self.line_free, now, bits, rate);
        }
        if traced.network_loss > 0.0 && self.random.chance(traced.network_loss) {
            match socket {
                Socket::Datagram => verdict.lost = Some(pretended(pid, call, bytes)),
                _ if connects => verdict.delay += FIRST_RETRANSMISSION,
                _ => verdict.delay += RETRANSMISSION,
            }
        }
    }

    /// What kind of socket a descriptor is. A socket's number tells it from all others.
    fn socket(&mut self, pid: i32, tid: i32, fd: u64) -> Socket {
        let Ok(link) = fs::read_link(format!("/proc/{tid}/fd/{fd}")) else {
            return Socket::Other;
        };
        let number = (link.to_str())
            .and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'))
            .and_then(|number| number.parse().ok());
        let Some(number) = number else {
            return Socket::Other;
        };
        if let Some(known) = self.sockets.get(&number) {
            return *known;
        }
        if self.sockets.len() > SOCKETS_MAX {
            self.sockets.clear();
        }
        let kind = kind_of(pid, fd).unwrap_or(Socket::Other);
        self.sockets.insert(number, kind);
        kind
    }
}

fn argument(call: &Call, place: usize) -> u64 {
    call.arguments.get(place).copied().unwrap_or_default()
}

/// What tells a file from all others.
fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// When so much has gone over a line that carries `rate` a second, and that others use too.
fn paced(free: &mut Option<Instant>, now: Instant, amount: u64, rate: u64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds do not matter")]
    let takes = Duration::from_secs_f64((amount as f64 / rate as f64).min(3600.0));
    let begin = free.map_or(now, |free| free.max(now));
    let end = begin + takes;
    *free = Some(end);
    end.saturating_duration_since(now)
}

/// How many bytes a call moves.
fn length(pid: i32, call: &Call) -> u64 {
    let pieces = |address: u64, count: u64| -> u64 {
        let count = usize::try_from(count).unwrap_or(0).min(PIECES_MAX);
        let words = read_words(pid, address, count * 2);
        words.chunks_exact(2).filter_map(|piece| piece.get(1)).sum()
    };
    // `struct msghdr`: the third and fourth word are the pieces and their number.
    let message = |address: u64| {
        let words = read_words(pid, address, 4);
        pieces(
            words.get(2).copied().unwrap_or(0),
            words.get(3).copied().unwrap_or(0),
        )
    };
    match call.number {
        libc::SYS_readv
        | libc::SYS_preadv
        | libc::SYS_preadv2
        | libc::SYS_writev
        | libc::SYS_pwritev
        | libc::SYS_pwritev2 => pieces(argument(call, 1), argument(call, 2)),
        libc::SYS_sendmsg => message(argument(call, 1)),
        libc::SYS_sendmmsg => (messages(call).map(message)).sum(),
        libc::SYS_sendfile => argument(call, 3),
        _ => argument(call, 2),
    }
}

/// Where the messages of `sendmmsg(2)` are.
fn messages(call: &Call) -> impl Iterator<Item = u64> {
    let (from, count) = (argument(call, 1), argument(call, 2));
    (0..count.min(PIECES_MAX as u64)).map(move |number| from + 64 * number)
}

/// What a call returns that pretends to have sent everything.
fn pretended(pid: i32, call: &Call, bytes: u64) -> i64 {
    if call.number != libc::SYS_sendmmsg {
        return bytes.cast_signed();
    }
    let mut count = 0;
    for at in messages(call) {
        let one = Call {
            number: libc::SYS_sendmsg,
            arguments: [0, at, 0, 0, 0, 0],
        };
        let sent = u32::try_from(length(pid, &one)).unwrap_or(u32::MAX);
        // `struct mmsghdr`: a message, then how much of it was sent.
        if !write(pid, at + 56, &sent.to_ne_bytes()) {
            break;
        }
        count += 1;
    }
    count
}

/// The path that a call names.
fn path_of(pid: i32, tid: i32, call: &Call, at: Option<usize>, place: usize) -> Option<PathBuf> {
    let text = read_text(pid, argument(call, place))?;
    if text.is_empty() {
        // It is about an open file: its name and data are known.
        return None;
    }
    let path = PathBuf::from(OsString::from_vec(text));
    if path.is_absolute() {
        return Some(path);
    }
    let base = match at.map(|at| argument(call, at)) {
        // The lower half alone is the descriptor; AT_FDCWD is negative.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "that is what the kernel does"
        )]
        Some(fd) if (fd as i32) >= 0 => format!("/proc/{tid}/fd/{}", fd as i32),
        _ => format!("/proc/{tid}/cwd"),
    };
    Some(fs::read_link(base).ok()?.join(path))
}

/// Whether a path is a program's own, rather than its data.
fn is_program(path: &Path) -> bool {
    const SYSTEM: [&str; 11] = [
        "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/proc", "/sys",
        "/dev",
    ];
    const PACKAGES: [&str; 11] = [
        "glibc-hwcaps",
        "site-packages",
        "dist-packages",
        "__pycache__",
        "node_modules",
        ".venv",
        "venv",
        ".cargo",
        ".rustup",
        ".pyenv",
        ".nvm",
    ];
    const CODE: [&str; 14] = [
        "py", "pyc", "pyi", "so", "js", "mjs", "cjs", "ts", "jar", "class", "rb", "pm", "rlib",
        "rmeta",
    ];
    SYSTEM.iter().any(|system| path.starts_with(system))
        || path.components().any(|part| {
            let part = part.as_os_str();
            PACKAGES.iter().any(|package| part == *package)
        })
        || (path.extension()).is_some_and(|end| CODE.iter().any(|code| end == *code))
        || path
            .file_name()
            .is_some_and(|name| contains(name.as_bytes(), b".so."))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What kind of socket a descriptor of another process is: a copy of it is asked.
fn kind_of(pid: i32, fd: u64) -> Option<Socket> {
    let copy = super::probe::copied(pid, i32::try_from(fd).ok()?).ok()?;
    let domain = option(copy.as_raw_fd(), libc::SO_DOMAIN)?;
    if domain != libc::AF_INET && domain != libc::AF_INET6 {
        return Some(Socket::Other);
    }
    Some(match option(copy.as_raw_fd(), libc::SO_TYPE)? {
        libc::SOCK_STREAM => Socket::Stream,
        libc::SOCK_DGRAM => Socket::Datagram,
        _ => Socket::Other,
    })
}

#[expect(
    unsafe_code,
    reason = "getsockopt(2) of an option that nix has no name for"
)]
fn option(fd: i32, name: i32) -> Option<i32> {
    let mut value = 0_i32;
    let mut size: libc::socklen_t = 4;
    // SAFETY: the value has the size that is told.
    let result = unsafe {
        let value = (&raw mut value).cast();
        libc::getsockopt(fd, libc::SOL_SOCKET, name, value, &raw mut size)
    };
    (result == 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_told_from_programs() {
        for program in [
            "/usr/lib/x",
            "/etc/hosts",
            "/home/a/project/.venv/lib/python3/site-packages/x.txt",
            "/home/a/project/libthing.so.3",
            "/home/a/project/tests/test_it.py",
        ] {
            assert!(is_program(Path::new(program)), "{program}");
        }
        for data in [
            "/tmp/x",
            "/home/a/data.json",
            "/home/a/users/usr",
            "/var/db",
        ] {
            assert!(!is_program(Path::new(data)), "{data}");
        }
    }

    #[test]
    fn what_is_sent_at_once_waits_for_what_was_sent_before() {
        let now = Instant::now();
        let mut free = None;
        let ms = Duration::from_millis;
        assert_eq!(paced(&mut free, now, 1000, 10_000), ms(100));
        assert_eq!(paced(&mut free, now, 1000, 10_000), ms(200));
        let later = now + ms(1000);
        assert_eq!(paced(&mut free, later, 1000, 10_000), ms(100));
    }
}
