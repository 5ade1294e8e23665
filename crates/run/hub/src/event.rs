//! Everything that can happen to the hub, as one stream.

use std::sync::Arc;

use cohort_host::init::{FromInit, protocol::Decoder};
use cohort_model::{InstanceId, SampleBatch};
use cohort_workload::pytest::protocol::{FromPython, Lines};
use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::Error;

/// Events that may wait for the hub; who makes more, waits (telemetry drops instead, and counts).
pub(crate) const EVENTS_MAX: usize = 4096;
/// Bytes read from a socket at once.
const READ_BYTES: usize = 64 << 10;

/// A connection of the Python side.
pub(crate) type Connection = u64;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// An init said something.
    Init(InstanceId, Box<FromInit>),
    /// An init is gone.
    InitGone(InstanceId, String),
    /// An instance was made, or could not be.
    Made(InstanceId),
    /// The Python side connected.
    PythonCame(Connection, Arc<UnixStream>),
    /// The Python side said something.
    Python(Connection, Box<FromPython>),
    /// A Python connection ended.
    PythonGone(Connection),
    /// An instance reached its memory limit, perhaps.
    Hold(InstanceId),
    /// New telemetry.
    Samples(Box<SampleBatch>),
    /// The user wants it to end.
    Stop,
}

pub(crate) type Events = mpsc::Sender<Event>;

/// Turns signals that ask this process to end into events, from now on.
pub(crate) fn listen_to_signals(events: &Events) -> Result<(), Error> {
    listen(events, || Event::Stop)
}

/// Sends `stop` for each signal that asks this process to end, from now on. A hangup that whoever
/// started it chose to ignore, as nohup(1) does, stays ignored.
pub(crate) fn listen<E: Send + 'static>(
    events: &mpsc::Sender<E>,
    stop: impl Fn() -> E + Clone + Send + 'static,
) -> Result<(), Error> {
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !is_ignored(SignalKind::hangup(), &status) {
        kinds.push(SignalKind::hangup());
    }
    for kind in kinds {
        let mut signals = signal(kind).map_err(|source| Error::Host {
            what: "listen for signals".to_owned(),
            source,
        })?;
        let (events, stop) = (events.clone(), stop.clone());
        tokio::spawn(async move {
            while signals.recv().await.is_some() && events.send(stop()).await.is_ok() {}
        });
    }
    Ok(())
}

/// Whether the process of `status` ignores this signal: `SigIgn` of proc_pid_status(5), where the lowest
/// bit is signal 1.
fn is_ignored(kind: SignalKind, status: &str) -> bool {
    let mask = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

/// Turns what an init says into events, until it is gone.
pub(crate) async fn listen_to_init(instance: InstanceId, mut input: OwnedReadHalf, events: Events) {
    let mut decoder = Decoder::default();
    let mut bytes = vec![0; READ_BYTES];
    let why = 'gone: loop {
        match input.read(&mut bytes).await {
            Ok(0) => break "its init ended".to_owned(),
            Ok(count) => decoder.push(&bytes[..count]),
            Err(error) => break error.to_string(),
        }
        loop {
            match decoder.pop::<FromInit>() {
                Ok(Some(message)) => {
                    if events
                        .send(Event::Init(instance, Box::new(message)))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => break 'gone error.to_string(),
            }
        }
    };
    // Nobody listens any more when the hub itself is ending.
    let _ = events.send(Event::InitGone(instance, why)).await;
}

/// Accepts connections of the Python side and turns what they say into events.
pub(crate) async fn accept_python(listener: UnixListener, events: Events) {
    let mut next: Connection = 0;
    while let Ok((stream, _)) = listener.accept().await {
        let connection = next;
        next += 1;
        let stream = Arc::new(stream);
        let came = Event::PythonCame(connection, Arc::clone(&stream));
        if events.send(came).await.is_err() {
            return;
        }
        tokio::spawn(listen_to_python(connection, stream, events.clone()));
    }
}

async fn listen_to_python(connection: Connection, stream: Arc<UnixStream>, events: Events) {
    let mut lines = Lines::default();
    let mut bytes = vec![0; READ_BYTES];
    'open: loop {
        if stream.readable().await.is_err() {
            break;
        }
        match stream.try_read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => lines.push(&bytes[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        }
        loop {
            match lines.take() {
                Ok(Some(message)) => {
                    let event = Event::Python(connection, Box::new(message));
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                // Who sends garbage is cut off, and so ends.
                Err(_) => break 'open,
            }
        }
    }
    let _ = events.send(Event::PythonGone(connection)).await;
}

/// Writes all of `bytes` to a connection that is shared with its reader.
pub(crate) async fn write_all(stream: &UnixStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_status_of_a_process() {
        let script = "trap '' HUP USR2; exec cat /proc/self/status";
        let output = std::process::Command::new("sh")
            .args(["-c", script])
            .output()
            .unwrap();
        let status = String::from_utf8(output.stdout).unwrap();
        assert!(is_ignored(SignalKind::hangup(), &status), "{status}");
        assert!(is_ignored(SignalKind::user_defined2(), &status));
        assert!(!is_ignored(SignalKind::user_defined1(), &status));
        assert!(!is_ignored(SignalKind::hangup(), ""));
    }
}
