//! The trivial server (`xtask/peers/server`), and a count that no contender makes for itself.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::Error;
use crate::run;

/// Longer than the count ever takes to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Builds one of `xtask/peers` into a target directory of its own; gives the binary.
pub(super) fn peer(work: &Path, name: &str) -> Result<PathBuf, Error> {
    let target = work.join("peers");
    let manifest = run::root()
        .join("xtask/peers")
        .join(name)
        .join("Cargo.toml");
    let mut command = run::cargo();
    command
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(manifest);
    run::output(command.arg("--target-dir").arg(&target))?;
    let built = target.join("release").join(format!("peer-{name}"));
    Ok(std::path::absolute(&built).unwrap_or(built))
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> Result<u16, Error> {
    let missing = |source: std::io::Error| Error::Missing(format!("no free port: {source}"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(missing)?;
    Ok(listener.local_addr().map_err(missing)?.port())
}

/// How many requests the server at the port has answered; none before it listens.
pub(super) fn count(port: u16) -> Option<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream
        .write_all(b"GET /count HTTP/1.1\r\nHost: peer\r\n\r\n")
        .ok()?;
    let mut text = Vec::new();
    let mut part = [0; 512];
    loop {
        let read = stream.read(&mut part).ok().filter(|read| *read > 0)?;
        text.extend_from_slice(&part[..read]);
        if let Some(count) = counted(&String::from_utf8_lossy(&text)) {
            return Some(count);
        }
    }
}

/// The number in a whole answer.
fn counted(answer: &str) -> Option<u64> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let length: usize = lines
        .find_map(|line| line.strip_prefix("Content-Length: "))?
        .parse()
        .ok()?;
    body.parse().ok().filter(|_| body.len() == length)
}

/// The command on one core only, so that drivers and server do not share one.
pub(super) fn pinned(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string()]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_counts() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n120";
        assert_eq!(counted(whole), Some(120));
        assert_eq!(counted(&whole[..whole.len() - 1]), None);
        assert_eq!(count(0), None);
    }
}
