//! Who listens for connections, as `/proc` shows it: `/proc/PID/net/tcp` for the sockets of a network
//! namespace, `/proc/PID/fd` for whose they are.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use cohort_host::process;

/// State of a listening socket in `/proc/net/tcp` (`TCP_LISTEN`).
const LISTENING: &str = "0A";

/// Flag of a listening socket in `/proc/net/unix` (`__SO_ACCEPTCON`).
const UNIX_LISTENS: u32 = 1 << 16;

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    inode: u64,
}

impl Listener {
    /// Only processes of its own network reach it.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(address) => {
                address.is_loopback() || address.to_ipv4_mapped().is_some_and(|it| it.is_loopback())
            }
        }
    }
}

/// The processes of an instance, cheap to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    /// `cgroup.procs`, where there are groups.
    pub(crate) procs_file: Option<PathBuf>,
    /// Its init.
    pub(crate) init: i32,
}

impl Members {
    /// All but the init.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let listed = self
            .procs_file
            .as_ref()
            .and_then(|path| std::fs::read(path).ok());
        match listed {
            Some(text) => cohort_host::kernel_file::pids(&text)
                .filter(|pid| *pid != self.init)
                .collect(),
            None => process::descendants(std::path::Path::new("/"), self.init),
        }
    }

    /// What they listen on.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        let owned = sockets(&self.pids()).unwrap_or_default();
        let mut listeners = all(self.init);
        listeners.retain(|listener| owned.contains(&listener.inode));
        listeners
    }

    /// Paths of the Unix sockets that they listen on; `@` in front of one that is no file.
    pub(crate) fn unix_listeners(&self) -> Vec<String> {
        let owned = sockets(&self.pids()).unwrap_or_default();
        let table = std::fs::read_to_string(format!("/proc/{}/net/unix", self.init));
        let mut paths: Vec<String> = parse_unix(&table.unwrap_or_default())
            .filter(|(inode, _)| owned.contains(inode))
            .map(|(_, path)| path.to_owned())
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Whether somebody else certainly listens on this port of the same network.
    pub(crate) fn is_port_of_another(&self, port: u16) -> bool {
        let there = all(self.init);
        let Some(owned) = sockets(&self.pids()) else {
            return false;
        };
        let mut on_port = there
            .iter()
            .filter(|listener| listener.port == port)
            .peekable();
        on_port.peek().is_some() && on_port.all(|listener| !owned.contains(&listener.inode))
    }
}

/// All listening sockets in the network namespace that `pid` is in.
fn all(pid: i32) -> Vec<Listener> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{name}"));
    let tables = [read("tcp"), read("tcp6")];
    tables
        .iter()
        .flatten()
        .flat_map(|text| parse(text))
        .collect()
}

/// Lines `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...`.
fn parse(text: &str) -> impl Iterator<Item = Listener> {
    text.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if *words.get(3)? != LISTENING {
            return None;
        }
        let (address, port) = words[1].split_once(':')?;
        Some(Listener {
            address: parse_address(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
            inode: words.get(9)?.parse().ok()?,
        })
    })
}

/// Lines `Num RefCount Protocol Flags Type St Inode Path`: inodes and paths of those that listen.
fn parse_unix(text: &str) -> impl Iterator<Item = (u64, &str)> {
    text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let flags = u32::from_str_radix(words.nth(3)?, 16).ok()?;
        let inode = words.nth(2)?.parse().ok()?;
        let path = words.next()?;
        (flags & UNIX_LISTENS != 0).then_some((inode, path))
    })
}

/// Words of 32 bits, each in the machine's own order, in hexadecimal.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = text.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
        }
        _ => None,
    }
}

/// Inodes of all sockets that these processes have open; none when we may not see that of one.
fn sockets(pids: &[i32]) -> Option<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for pid in pids {
        let entries = match std::fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
            Err(_) => continue, // Ended.
        };
        for entry in entries.flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let inode = target.to_str().and_then(|text| {
                text.strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .parse::<u64>()
                    .ok()
            });
            found.extend(inode);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_listener_is_found_and_is_ours() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let pid = std::process::id().cast_signed();
        let found: Vec<_> = all(pid).into_iter().filter(|it| it.port == port).collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].is_loopback());
        assert!(sockets(&[pid]).unwrap().contains(&found[0].inode));
        // An instance without processes: whoever listens there is another.
        let nobody = Members {
            procs_file: Some("/dev/null".into()),
            init: pid,
        };
        assert!(nobody.is_port_of_another(port));
        assert_eq!(nobody.listeners(), []);
    }

    #[test]
    fn unix_sockets_that_listen_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.sock");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let pid = std::process::id().cast_signed();
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
        let ours = sockets(&[pid]).unwrap();
        let found: Vec<&str> = parse_unix(&table)
            .filter(|(inode, _)| ours.contains(inode))
            .map(|(_, path)| path)
            .collect();
        assert!(found.contains(&path.to_str().unwrap()), "{found:?}");
        let text = "Num RefCount Protocol Flags Type St Inode Path\n\
            0: 00000002 00000000 00010000 0001 01 77 /run/a.sock\n\
            0: 00000003 00000000 00000000 0001 03 78 /run/b.sock\n\
            0: 00000002 00000000 00010000 0001 01 79\n";
        assert_eq!(parse_unix(text).collect::<Vec<_>>(), [(77, "/run/a.sock")]);
    }

    #[test]
    fn addresses_of_both_kinds() {
        let text = "  sl  local_address\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0\n   \
            1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 78 1\n   \
            2: 0100007F:1F91 0100007F:1F90 01 0:0 00:0 0 0 0 79 1\n";
        if cfg!(target_endian = "little") {
            let found: Vec<_> = parse(text).collect();
            assert_eq!(found.len(), 2);
            assert_eq!(found[0].address, IpAddr::from([127, 0, 0, 1]));
            assert_eq!((found[0].port, found[1].port), (8080, 80));
            assert!(found[1].is_loopback());
        }
    }
}
