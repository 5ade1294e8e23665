//! The hub's side: how an init comes into being.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Why there is no init.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No sockets left, most likely.
    #[error(
        "make a socket pair for an instance; close programs or raise the limit of open files (ulimit -n)"
    )]
    Socket {
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The executable could not be started.
    #[error("start {} as the init of an instance; it must be an executable file", executable.display())]
    Spawn {
        /// Which.
        executable: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Starts an init: `executable` with `arguments` must come to [`super::main`]. Its end of the socket
/// is its standard input, which lets the standard library take its fastest way of starting a process.
/// The returned end speaks [`super::protocol`] and is blocking; once it is closed, the init kills
/// all it started and ends. Give it [`super::ToInit::Setup`] first.
///
/// # Errors
/// No socket, or the executable does not start.
pub fn spawn(executable: &Path, arguments: &[&str]) -> Result<(UnixStream, Child), Error> {
    let (ours, theirs) = UnixStream::pair().map_err(|source| Error::Socket { source })?;
    let child = Command::new(executable)
        .args(arguments)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| Error::Spawn {
            executable: executable.to_path_buf(),
            source,
        })?;
    Ok((ours, child))
}
