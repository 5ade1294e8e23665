//! What a server listens on and is connected to, as the kernel tells: `/proc/PID/net/tcp` of its network, and the sockets that
//! its processes hold (proc(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::plan::Plan;
use crate::weakness::Weaknesses;

const LISTENS: &str = "0A";

/// A socket of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    listens: bool,
    inode: u64,
}

/// Looks at a server now and then.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    listens: BTreeMap<u16, (SocketAddr, String)>,
    connected: BTreeSet<SocketAddr>,
}

impl Sockets {
    /// Looks once.
    pub(crate) fn look(&mut self, pid: i32) {
        let processes = processes(pid);
        let inodes = inodes(&processes);
        let mut all = Vec::new();
        for table in ["tcp", "tcp6"] {
            let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}"));
            all.extend(text.unwrap_or_default().lines().filter_map(socket));
        }
        let own = all
            .iter()
            .filter(|socket| inodes.contains_key(&socket.inode));
        let (listening, others): (Vec<&Socket>, Vec<&Socket>) = own.partition(|it| it.listens);
        for socket in listening {
            let holder = inodes.get(&socket.inode).cloned().unwrap_or_default();
            self.listens
                .entry(socket.local.port())
                .or_insert((socket.local, holder));
        }
        for socket in others {
            let called = self.listens.contains_key(&socket.local.port());
            let within = socket.remote.ip().is_loopback();
            if !called && !within && socket.remote.port() != 0 {
                self.connected.insert(socket.remote);
            }
        }
    }

    /// Tells what was not declared. `exempt`: addresses that it was told to connect to.
    pub(crate) fn tell(&self, plan: &Plan, exempt: &[String], weaknesses: &mut Weaknesses) {
        for (port, (address, holder)) in &self.listens {
            if *port == plan.port || plan.listens.contains(port) {
                continue;
            }
            let who = match address.ip().is_loopback() {
                true => "for callers on its own host",
                false => "for anybody",
            };
            let sentence = format!(
                "`{holder}` also listens on {address}, {who}, which was not declared (`listens` in [helpers.scan])."
            );
            // A port that the kernel chose is another one each time.
            weaknesses.add("unexpected-listener", &format!("port {port}"), sentence);
        }
        if plan.connects.is_empty() {
            return;
        }
        for address in &self.connected {
            if is_declared(&plan.connects, *address) || is_declared(exempt, *address) {
                continue;
            }
            let sentence = format!(
                "It is connected to {address}, which was not declared (`connects` in [helpers.scan])."
            );
            weaknesses.add("unexpected-connection", &address.to_string(), sentence);
        }
    }
}

/// `10.0.0.7`, `10.0.0.7:5432` and `:5432` allow this address.
fn is_declared(declared: &[String], address: SocketAddr) -> bool {
    declared.iter().any(|one| {
        *one == address.to_string()
            || *one == address.ip().to_string()
            || *one == format!(":{}", address.port())
    })
}

/// Processes that began with the same parent as this one, as far up as they are not Cohort's, and all theirs.
fn processes(pid: i32) -> Vec<i32> {
    let own = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let exe = |pid: i32| std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let parents: BTreeMap<i32, i32> = all()
        .into_iter()
        .filter_map(|it| Some((it, parent(it)?)))
        .collect();
    let mut top = pid;
    while let Some(&above) = parents.get(&top)
        && above > 1
        && exe(above) != own
    {
        top = above;
    }
    let mut found = vec![top];
    let mut at = 0;
    while at < found.len() {
        let of = found[at];
        found.extend(
            parents
                .iter()
                .filter(|(_, above)| **above == of)
                .map(|(it, _)| *it),
        );
        at += 1;
    }
    found
}

fn all() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// Sockets that are held, and the name of a process that holds each.
fn inodes(processes: &[i32]) -> BTreeMap<u64, String> {
    let mut held = BTreeMap::new();
    for pid in processes {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let open = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd"));
        for entry in open.into_iter().flatten().flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let inode = target.to_str().and_then(|it| it.strip_prefix("socket:["));
            let inode = inode.and_then(|it| it.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                held.insert(inode, name.trim().to_owned());
            }
        }
    }
    held
}

/// A line of `/proc/PID/net/tcp` or `tcp6`.
fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    Some(Socket {
        local: address(fields.get(1)?)?,
        remote: address(fields.get(2)?)?,
        listens: *fields.get(3)? == LISTENS,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// `0100007F:1F90`: words of the host's order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for at in (0..host.len()).step_by(8) {
        let word = u32::from_str_radix(host.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 4711 1 0 100 0 0 10 0";
        let read = socket(line).expect("a socket");
        assert_eq!(read.local.to_string(), "127.0.0.1:8080");
        assert!(read.listens && read.inode == 4711);
        assert_eq!(socket("  sl  local_address rem_address   st"), None);
        assert_eq!(address("zz:1"), None);
    }

    #[test]
    fn a_listener_that_was_not_declared_is_told() {
        let declared = TcpListener::bind("127.0.0.1:0").expect("a port");
        let other = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = |it: &TcpListener| it.local_addr().expect("an address").port();
        let mut sockets = Sockets::default();
        sockets.look(std::process::id().cast_signed());
        let plan = Plan {
            port: port(&declared),
            ..Plan::default()
        };
        let mut found = Weaknesses::default();
        sockets.tell(&plan, &[], &mut found);
        let lines = found.lines();
        assert!(lines.contains(&format!("port {}", port(&other))), "{lines}");
        assert!(
            !lines.contains(&format!("port {}\"", port(&declared))),
            "{lines}"
        );
    }

    #[test]
    fn where_it_is_connected_to_and_was_not_to_be_is_told() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let all = [
            "10.0.0.7:5432",
            "10.0.0.8:6379",
            "10.0.0.9:53",
            "192.0.2.1:443",
        ];
        let sockets = Sockets {
            connected: all.into_iter().map(address).collect(),
            ..Sockets::default()
        };
        let told = |connects: &[&str]| {
            let plan = Plan {
                connects: connects.iter().map(|it| (*it).to_owned()).collect(),
                ..Plan::default()
            };
            let mut weaknesses = Weaknesses::default();
            sockets.tell(&plan, &["10.0.0.8:6379".to_owned()], &mut weaknesses);
            let told = weaknesses.told().into_iter();
            told.map(|it| (it.rule, it.place.unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        let odd = (
            "unexpected-connection".to_owned(),
            "192.0.2.1:443".to_owned(),
        );
        assert_eq!(told(&["10.0.0.7:5432", ":53"]), [odd]);
        assert_eq!(told(&[]), [], "nothing was declared");
    }
}
