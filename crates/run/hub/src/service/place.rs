//! One instance, as the hub knows it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cohort_agent::protocol::Address;
use cohort_service::Instance;
use cohort_telemetry::calls::{CallCounts, Calls};

/// Where something that listens there is found.
pub(crate) fn address_of(at: SocketAddr, tls: bool) -> Address {
    Address {
        tls,
        host: at.ip().to_string(),
        port: at.port(),
    }
}

/// One instance.
pub(crate) struct Place {
    /// `None` while it is being made.
    pub(crate) instance: Option<Instance>,
    state: State,
    calls: Option<(Calls, CallCounts)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Ready(SocketAddr),
    Down,
    Failed,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            instance: None,
            state: State::Starting,
            calls: None,
        }
    }

    /// Whether it answers.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// Whether it had its first chance to answer.
    pub(crate) fn is_settled(&self) -> bool {
        self.state != State::Starting
    }

    pub(crate) fn ready(&mut self, address: SocketAddr) {
        self.state = State::Ready(address);
    }

    /// It does not answer now.
    pub(crate) fn down(&mut self) {
        if self.is_ready() {
            self.state = State::Down;
        }
    }

    pub(crate) fn failed(&mut self) {
        self.state = State::Failed;
    }

    /// Where it listens, while it answers.
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        match self.state {
            State::Ready(address) => Some(address),
            _ => None,
        }
    }

    /// Where its threads find it.
    pub(crate) fn address(&self, tls: bool) -> Option<Address> {
        Some(address_of(self.socket()?, tls))
    }

    /// Its system calls are counted from now on.
    pub(crate) fn count(&mut self, calls: Calls) {
        self.calls = Some((calls, CallCounts::default()));
    }

    /// System calls since the last time, by kind.
    pub(crate) fn system_calls(&mut self) -> BTreeMap<String, u64> {
        let Some((calls, before)) = &mut self.calls else {
            return BTreeMap::new();
        };
        let Ok(now) = calls.read() else {
            return BTreeMap::new();
        };
        let since = now.since(before);
        *before = now;
        let named = [
            ("file", since.file),
            ("network", since.network),
            ("memory", since.memory),
            ("futex", since.lock),
            ("waiting", since.waiting),
            ("process", since.process),
            ("all", since.all),
        ];
        named.map(|(name, count)| (name.to_owned(), count)).into()
    }
}
