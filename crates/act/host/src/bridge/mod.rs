//! A bridge of the campaign, and the network namespaces of its instances on it.
//!
//! ```text
//!   host: agents ------ co3f9-b0 10.a.b.1/22 (bridge) ----- co3f9-v1 ==veth== eth0 10.a.b.2  (instance)
//!                                                    \----- co3f9-v2 ==veth== eth0 10.a.b.3
//! ```
//!
//! Instances reach the host's end of the bridge and nothing else: they have no default route, and
//! ports of the bridge do not talk to each other. A namespace ends with its last process, and its
//! pair of devices with it, so only the bridge can outlive a killed Cohort; [`remove_stale`] knows it
//! by its name and by the [`Owner`] that is written on it.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::Owner;

mod netlink;
mod rate;
mod subnet;

use netlink::{Message, Socket, Wish, attributes, number, text};

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
/// `IFLA_*`, linux/if_link.h
const NAME: u16 = 3;
const MASTER: u16 = 10;
const PROTOCOL_INFO: u16 = 12;
const LINK_INFO: u16 = 18;
const NAMESPACE_OF: u16 = 19;
const ALIAS: u16 = 20;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_PEER: u16 = 1;
const PORT_ISOLATED: u16 = 33;
/// `IFA_ADDRESS`, `IFA_LOCAL`, linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Names of our devices begin with this.
const PREFIX: &str = "co";
/// The device within an instance.
const INSIDE: &str = "eth0";
/// Names or ranges that are tried before giving up.
const TRIES_MAX: usize = 64;

/// Numbers of devices of this process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Why there is no network for instances.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused something.
    #[error("{what}; give instances no network of their own (network = \"host\")")]
    Refused {
        /// What was to be done.
        what: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// All private ranges have routes.
    #[error(
        "find a private range of addresses for instances: all of 10.128.0.0 to 10.254.255.255 is routed elsewhere; \
         remove a route or give instances no network of their own (network = \"host\")"
    )]
    NoRange,
    /// The range is used up.
    #[error(
        "give an instance an address: all {} of the campaign are in use; lower the number of instances", subnet::SIZE - 3
    )]
    NoAddress,
}

fn refused(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Refused { what, source }
}

/// The campaign's bridge. Dropping it removes it.
#[derive(Debug)]
pub struct Bridge {
    socket: Socket,
    name: String,
    index: u32,
    range: u32,
    used: BTreeSet<u32>,
}

impl Bridge {
    /// Makes it, with an address and a range that nothing on this host uses.
    ///
    /// # Errors
    /// Without privileges, or when no range is free.
    pub fn create(owner: &Owner) -> Result<Self, Error> {
        let mut socket =
            Socket::open().map_err(refused("talk to the kernel's network (netlink)"))?;
        let make = |socket: &mut Socket, name: &str| {
            let message = Message::new(NEW_LINK, Wish::Create, &link_header(0, false))
                .with_text(NAME, name)
                .with_nested(LINK_INFO, &[], |info| info.with_text(INFO_KIND, "bridge"));
            socket.ask(message)
        };
        let name = make_named(&mut socket, 'b', make)
            .map_err(refused("make a bridge for the instances"))?;
        let index = index_of(&mut socket, &name).map_err(refused(format!("find {name}")))?;
        let mut bridge = Self {
            socket,
            name,
            index,
            range: 0,
            used: BTreeSet::new(),
        };
        let up = Message::new(NEW_LINK, Wish::Plain, &link_header(index, true))
            .with_text(ALIAS, &owner.to_string());
        let marked = bridge.socket.ask(up);
        marked.map_err(refused(format!("mark {} and bring it up", bridge.name)))?;
        bridge.take_range(owner.pid.unsigned_abs() + index)?;
        Ok(bridge)
    }

    /// Two Cohorts that start at once may take the same range: then both look on.
    fn take_range(&mut self, seed: u32) -> Result<(), Error> {
        let routes = || {
            std::fs::read_to_string("/proc/net/route")
                .map(|text| subnet::routes(&text))
                .map_err(refused("read /proc/net/route"))
        };
        let before = routes()?;
        for range in subnet::free(&before, seed).take(TRIES_MAX) {
            let own = subnet::address(range, 1);
            let what = || format!("give {} the address {own}", self.name);
            let added = self.socket.ask(address_message(self.index, own));
            added.map_err(refused(what()))?;
            if !subnet::is_contested(&routes()?, range, &self.name) {
                self.range = range;
                return Ok(());
            }
            let mut removal = address_message(self.index, own);
            removal.make_removal();
            let removed = self.socket.ask(removal);
            removed.map_err(refused(format!("take {own} from {}", self.name)))?;
        }
        Err(Error::NoRange)
    }

    /// Its own address: where instances reach the host.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        subnet::address(self.range, 1)
    }

    /// Connects the network namespace that process `pid` is in, and nobody else of ours.
    ///
    /// # Errors
    /// When the process is gone, or all addresses are used up.
    pub fn attach(&mut self, pid: i32) -> Result<Port, Error> {
        let mut numbers = 2..subnet::SIZE - 1;
        let number = numbers
            .find(|number| !self.used.contains(number))
            .ok_or(Error::NoAddress)?;
        let address = subnet::address(self.range, number);
        let mut inside = Socket::open_beside(pid)
            .map_err(refused(format!("enter the network of process {pid}")))?;
        let peer = |data: Message| {
            data.with_nested(VETH_PEER, &link_header(0, false), |peer| {
                peer.with_text(NAME, INSIDE)
                    .with_number(NAMESPACE_OF, pid.cast_unsigned())
            })
        };
        let make = |socket: &mut Socket, name: &str| {
            let message = Message::new(NEW_LINK, Wish::Create, &link_header(0, true))
                .with_text(NAME, name)
                .with_number(MASTER, self.index)
                .with_nested(LINK_INFO, &[], |info| {
                    info.with_text(INFO_KIND, "veth")
                        .with_nested(INFO_DATA, &[], peer)
                });
            socket.ask(message)
        };
        let name = make_named(&mut self.socket, 'v', make)
            .map_err(refused(format!("make the network devices of {address}")))?;
        let what = || format!("set up {INSIDE} with {address} in the network of process {pid}");
        let mut set_up = |outside: &mut Socket| {
            let outside_index = index_of(outside, &name)?;
            let inside_index = index_of(&mut inside, INSIDE)?;
            inside.ask(address_message(inside_index, address))?;
            let up = Message::new(NEW_LINK, Wish::Plain, &link_header(inside_index, true));
            inside.ask(up)?;
            isolate(outside, outside_index);
            Ok((outside_index, inside_index))
        };
        let (outside_index, inside_index) = set_up(&mut self.socket).map_err(refused(what()))?;
        self.used.insert(number);
        Ok(Port {
            address,
            number,
            outside: Socket::open().map_err(refused("talk to the kernel's network (netlink)"))?,
            outside_index,
            inside,
            inside_index,
        })
    }

    /// The address may be given to another instance.
    pub fn release(&mut self, port: &Port) {
        self.used.remove(&port.number);
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // What cannot be removed now is found by the next start.
        let _ = self.socket.ask(removal_message(self.index));
    }
}

/// Where an instance's network meets the bridge. Its devices go with this, at the latest some time after
/// the namespace.
#[derive(Debug)]
pub struct Port {
    address: Ipv4Addr,
    number: u32,
    outside: Socket,
    outside_index: u32,
    inside: Socket,
    inside_index: u32,
}

impl Port {
    /// The instance's address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Limits both directions, bits a second each; none: no limit. Takes effect at once, connections
    /// go on.
    ///
    /// # Errors
    /// When the instance is gone, or the kernel has no token bucket (`sch_tbf`).
    pub fn set_rate(&mut self, rate: Option<u64>) -> Result<(), Error> {
        let address = self.address;
        rate::set(&mut self.outside, self.outside_index, rate)
            .and_then(|()| rate::set(&mut self.inside, self.inside_index, rate))
            .map_err(refused(format!("limit the network of {address} (tbf)")))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // The other end goes with it. Numbers of devices are not given twice, so one that is gone with its
        // namespace is no other by now.
        let _ = self.outside.ask(removal_message(self.outside_index));
    }
}

/// Removes bridges of dead Cohorts; gives how many.
#[must_use]
pub fn remove_stale(root: &Path) -> u32 {
    let Ok(mut socket) = Socket::open() else {
        return 0;
    };
    let links = links(&mut socket).unwrap_or_default();
    let stale = links.iter().filter(|link| link.is_stale(root));
    let removed = stale.filter(|link| socket.ask(removal_message(link.index)).is_ok());
    u32::try_from(removed.count()).unwrap_or(u32::MAX)
}

/// A network device.
#[derive(Debug)]
struct Link {
    index: u32,
    name: String,
    alias: String,
}

impl Link {
    /// Made by a Cohort that is certainly dead. One that died before it could mark its device is told
    /// by the name alone.
    fn is_stale(&self, root: &Path) -> bool {
        let Some(pid) = owner_in(&self.name) else {
            return false;
        };
        if self.alias.is_empty() {
            return !root.join(format!("proc/{pid}")).exists();
        }
        self.alias
            .parse()
            .is_ok_and(|owner: Owner| owner.pid == pid && owner.is_dead(root))
    }
}

/// The process id in the name of a bridge of ours.
fn owner_in(name: &str) -> Option<i32> {
    let (pid, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let number = number.strip_prefix('b')?;
    number.parse::<u32>().ok()?;
    i32::from_str_radix(pid, 16).ok().filter(|pid| *pid > 0)
}

fn links(socket: &mut Socket) -> io::Result<Vec<Link>> {
    let told = socket.ask(Message::new(GET_LINK, Wish::List, &link_header(0, false)))?;
    Ok(told.iter().filter_map(|body| link(body)).collect())
}

/// `struct ifinfomsg` and its attributes.
fn link(body: &[u8]) -> Option<Link> {
    let mut link = Link {
        index: number(body.get(4..)?)?,
        name: String::new(),
        alias: String::new(),
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            NAME => link.name = text(value),
            ALIAS => link.alias = text(value),
            _ => {}
        }
    }
    Some(link)
}

/// Makes a device under the first free name of ours.
fn make_named(
    socket: &mut Socket,
    letter: char,
    make: impl Fn(&mut Socket, &str) -> io::Result<Vec<Vec<u8>>>,
) -> io::Result<String> {
    let pid = std::process::id();
    for _ in 0..TRIES_MAX {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{pid:x}-{letter}{number}");
        match make(socket, &name) {
            // Left by a dead Cohort whose process id came again.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            made => return made.map(|_| name),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn index_of(socket: &mut Socket, name: &str) -> io::Result<u32> {
    let message = Message::new(GET_LINK, Wish::Plain, &link_header(0, false)).with_text(NAME, name);
    let told = socket.ask(message)?;
    let found = told.iter().find_map(|body| link(body));
    found
        .map(|link| link.index)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Ports of the bridge do not reach each other. Where the kernel cannot (before 4.18) they do.
fn isolate(socket: &mut Socket, index: u32) {
    let mut header = link_header(index, false);
    header[0] = libc::AF_BRIDGE as u8;
    let message = Message::new(SET_LINK, Wish::Plain, &header).with_nested(
        PROTOCOL_INFO | NESTED,
        &[],
        |port| port.with(PORT_ISOLATED, &[1]),
    );
    let _ = socket.ask(message);
}

/// `NLA_F_NESTED`, which the bridge insists on.
const NESTED: u16 = 0x8000;

fn removal_message(index: u32) -> Message {
    Message::new(DEL_LINK, Wish::Plain, &link_header(index, false))
}

/// `struct ifinfomsg`; `up` sets that flag and no other.
fn link_header(index: u32, up: bool) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        let flag = libc::IFF_UP.cast_unsigned().to_ne_bytes();
        header[8..12].copy_from_slice(&flag);
        header[12..16].copy_from_slice(&flag);
    }
    header
}

/// `struct ifaddrmsg` and the address.
fn address_message(index: u32, address: Ipv4Addr) -> Message {
    let mut header = [0; 8];
    header[0] = libc::AF_INET as u8;
    header[1] = subnet::PREFIX;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    Message::new(NEW_ADDRESS, Wish::Create, &header)
        .with(IFA_LOCAL, &address.octets())
        .with(IFA_ADDRESS, &address.octets())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bridges_of_the_dead_are_stale() {
        let root = Path::new("/");
        let own = Owner::current(root).unwrap();
        let dead = Owner {
            start_ticks: own.start_ticks - 1,
            ..own
        };
        let link = |name: String, alias: String| Link {
            index: 0,
            name,
            alias,
        };
        let name = format!("co{:x}-b0", own.pid);
        assert!(link(name.clone(), dead.to_string()).is_stale(root));
        assert!(!link(name.clone(), own.to_string()).is_stale(root));
        assert!(!link(name.clone(), String::new()).is_stale(root));
        assert!(!link(name, "of somebody".to_owned()).is_stale(root));
        assert!(link("co7fffffff-b3".to_owned(), String::new()).is_stale(root));
        for other in ["co7fffffff-v3", "co-b1", "cob1", "docker0", "co7fffffff-bx"] {
            assert!(!link(other.to_owned(), dead.to_string()).is_stale(root));
        }
    }
}
