//! A bridge and a network namespace on it, on the real host. Needs root; says so without.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cohort_host::bridge::{Bridge, remove_stale};
use cohort_host::process::Owner;

/// A process in a network namespace of its own, killed at the end of its test.
struct Alone(Child);

impl Alone {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        let child = command
            .args(["--net", "sleep", "1000"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let alone = Self(child);
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let link = format!("/proc/{}/ns/net", alone.pid());
        while std::fs::read_link(&link).is_ok_and(|namespace| namespace == own) {
            std::thread::yield_now();
        }
        alone
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn needs_root(what: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("LEFT OUT: {what}: needs root");
    }
    is_root
}

fn devices() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/class/net").unwrap().flatten();
    entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.starts_with(&format!("co{:x}-", std::process::id())))
        .collect()
}

#[test]
fn a_bridge_connects_limits_and_goes() {
    if !needs_root("a bridge for instances") {
        return;
    }
    let owner = Owner::current(Path::new("/")).unwrap();
    let mut bridge = Bridge::create(&owner).unwrap();
    let (one, two) = (Alone::new(), Alone::new());
    let mut first = bridge.attach(one.pid()).unwrap();
    let second = bridge.attach(two.pid()).unwrap();
    assert_ne!(first.address(), second.address());
    // Nothing listens there: an answer comes all the same, from the kernel within.
    let refused = TcpStream::connect((first.address(), 9)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    TcpListener::bind((bridge.address(), 0)).unwrap();
    for rate in [
        Some(8_000),
        Some(100_000_000_000),
        None,
        None,
        Some(1_000_000),
    ] {
        first.set_rate(rate).unwrap();
    }
    assert_eq!(devices().len(), 3);
    // An address that was given back is given out again.
    let given = second.address();
    bridge.release(&second);
    drop((second, two));
    let third = Alone::new();
    assert_eq!(bridge.attach(third.pid()).unwrap().address(), given);
    // What lives is no remains.
    let _ = remove_stale(Path::new("/"));
    assert!(!devices().is_empty());
    drop(bridge);
    drop((first, one, third));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !devices().is_empty() {
        assert!(
            std::time::Instant::now() < deadline,
            "left: {:?}",
            devices()
        );
        std::thread::yield_now();
    }
}

#[test]
fn a_process_that_is_gone_cannot_be_attached() {
    if !needs_root("a bridge for instances") {
        return;
    }
    let owner = Owner::current(Path::new("/")).unwrap();
    let mut bridge = Bridge::create(&owner).unwrap();
    let error = bridge.attach(i32::MAX).unwrap_err().to_string();
    assert!(error.contains(&i32::MAX.to_string()), "{error}");
}
