//! Ports of the loopback address for instances that share the host's network.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use crate::{Error, lock};

/// Tries to find a port that no instance has been given.
const TRIES_MAX: usize = 100;

/// Ports that were given to instances.
#[derive(Debug, Default)]
pub(crate) struct Ports(Mutex<BTreeSet<u16>>);

impl Ports {
    /// A port that is free now and was given to no other instance. Whether it still is when the server
    /// starts, nobody can promise.
    pub(crate) fn take(&self) -> Result<u16, Error> {
        let mut given = lock(&self.0);
        let mut tries = Vec::new();
        loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .map_err(|source| Error::NoPort { source })?;
            let port = listener
                .local_addr()
                .map_err(|source| Error::NoPort { source })?
                .port();
            if given.insert(port) || tries.len() == TRIES_MAX {
                return Ok(port);
            }
            // Kept open, so that the next try is another port.
            tries.push(listener);
        }
    }

    /// An instance does not use it any more.
    pub(crate) fn give_back(&self, port: u16) {
        lock(&self.0).remove(&port);
    }
}

/// Whether a server could listen there now.
pub(crate) fn is_free(port: u16) -> bool {
    // As servers do, with SO_REUSEADDR: connections that linger are no hindrance.
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports = Ports::default();
        let given: BTreeSet<u16> = (0..50).map(|_| ports.take().unwrap()).collect();
        assert_eq!(given.len(), 50);
        let port = *given.first().unwrap();
        assert!(is_free(port));
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
        drop(taken);
    }
}
