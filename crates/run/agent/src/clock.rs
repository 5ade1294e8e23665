//! Time as the campaign counts it, the same in every process of this host.

use cohort_model::At;
use nix::time::{ClockId, clock_gettime};
use tokio::time::{Duration, Instant};

/// Microseconds since the campaign began, on the host's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start_monotonic_ns: u64,
    start_unix_us: u64,
}

impl Clock {
    pub(crate) fn new(start_monotonic_ns: u64, start_wall_ms: u64) -> Clock {
        Clock {
            start_monotonic_ns,
            start_unix_us: start_wall_ms * 1_000,
        }
    }

    pub(crate) fn now(&self) -> At {
        At(monotonic_ns().saturating_sub(self.start_monotonic_ns) / 1_000)
    }

    /// Microseconds since 1970. It never goes back, and is the same for all agents.
    pub(crate) fn unix_us(&self, at: At) -> u64 {
        self.start_unix_us + at.0
    }

    pub(crate) fn at_of_unix_us(&self, unix_us: u64) -> At {
        At(unix_us.saturating_sub(self.start_unix_us))
    }

    /// The same moment for tokio's timers.
    pub(crate) fn instant(&self, at: At) -> Instant {
        Instant::now() + Duration::from_micros(at.since(self.now()))
    }
}

/// The host's monotonic clock, nanoseconds; what [`crate::protocol::Load`] wants from the hub.
///
/// # Panics
///
/// Never on Linux: the clock always exists.
#[must_use]
pub fn monotonic_ns() -> u64 {
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(time) => time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64,
        Err(_) => unreachable!("every Linux has a monotonic clock"),
    }
}
