//! What a scan is told.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A request that a scenario made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// `GET /items/{}`.
    pub endpoint: String,
    /// `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// As text; empty: none.
    #[serde(default)]
    pub body: String,
    /// Which of all it was, by when it was first made.
    #[serde(default)]
    pub order: u32,
    /// Status of its answer.
    #[serde(default)]
    pub status: u16,
}

/// What a scan is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// A process of the server.
    pub pid: i32,
    /// Where it listens. Nothing else is ever connected to.
    pub host: String,
    /// On which port.
    pub port: u16,
    /// It is spoken to over TLS.
    pub tls: bool,
    /// It has a network of its own.
    pub own_network: bool,
    /// Further ports that it was declared to listen on.
    pub listens: Vec<u16>,
    /// Addresses that it was declared to connect to: `10.0.0.7`, `10.0.0.7:5432`, `:5432`.
    pub connects: Vec<String>,
    /// Sent with each request, such as who asks.
    pub headers: Vec<(String, String)>,
    /// A file or directory of advisories.
    pub advisories: Option<PathBuf>,
    /// Directories in which its lock files are.
    pub roots: Vec<PathBuf>,
    /// What endpoints are asked.
    pub examples: Vec<Example>,
    /// How long all requests may take together, milliseconds.
    pub for_ms: u64,
}

impl Plan {
    /// Writes it for its reader alone: bodies may hold passwords.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(&serde_json::to_vec(self)?)
    }

    /// Reads it and removes the file.
    pub(crate) fn take(path: &Path) -> Result<Self, crate::Error> {
        let read = |source| crate::Error::Read {
            path: path.to_owned(),
            source,
        };
        let text = std::fs::read(path).map_err(read)?;
        std::fs::remove_file(path).map_err(read)?;
        serde_json::from_slice(&text).map_err(|source| crate::Error::Plan {
            path: path.to_owned(),
            source,
        })
    }
}
