//! Of which build a case is: what has to be equal for it to mean the same elsewhere.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::entries::hexadecimal;

/// Largest difference to the last commit that is looked at, bytes.
const CHANGES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What identifies a build. Whatever could not be found out is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// SHA-256 of the program that was executed, when it is one of the project's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// What its linker calls it (`.note.gnu.build-id`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub build_id: String,
    /// The commit that is checked out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// SHA-256 of what differs from that commit: changes of tracked files, and names of others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub changes: String,
}

impl Build {
    /// That of `program` (none: an interpreter's) in the project at `root`.
    #[must_use]
    pub fn of(program: Option<&Path>, root: &Path) -> Self {
        let mut build = Self {
            program: program
                .and_then(|path| checksum(path).ok())
                .unwrap_or_default(),
            build_id: program.and_then(build_id).unwrap_or_default(),
            ..Self::default()
        };
        let Some(commit) = git(root, &["rev-parse", "HEAD"]) else {
            return build;
        };
        build.commit = String::from_utf8_lossy(&commit).trim().to_owned();
        let status = git(root, &["status", "--porcelain", "-z", "--", "."]).unwrap_or_default();
        if !status.is_empty() {
            let changes = git(
                root,
                &[
                    "diff",
                    "HEAD",
                    "--binary",
                    "--no-ext-diff",
                    "--no-color",
                    "--",
                    ".",
                ],
            );
            let mut hash = Sha256::new();
            hash.update(&status);
            hash.update(changes.unwrap_or_default());
            build.changes = hexadecimal(&hash.finalize());
        }
        build
    }

    /// What differs from the build that is here, one sentence each; nothing when both are the same as far
    /// as is known.
    #[must_use]
    pub fn differences(&self, here: &Build) -> Vec<String> {
        let short = |text: &str| text.chars().take(12).collect::<String>();
        let mut found = Vec::new();
        let mut compare = |what: &str, there: &str, here: &str| {
            if !there.is_empty() && !here.is_empty() && there != here {
                found.push(format!(
                    "{what} is {} there and {} here",
                    short(there),
                    short(here)
                ));
            }
        };
        // Two builds of one source by one linker have one id, whatever else is in the file.
        if self.build_id.is_empty() || self.build_id != here.build_id {
            compare("the program's build id", &self.build_id, &here.build_id);
            compare("the program's checksum", &self.program, &here.program);
        }
        compare("the commit", &self.commit, &here.commit);
        if self.commit == here.commit && self.changes != here.changes && !self.commit.is_empty() {
            let told = |changes: &str| {
                if changes.is_empty() {
                    "none".to_owned()
                } else {
                    short(changes)
                }
            };
            found.push(format!(
                "what differs from the commit is {} there and {} here",
                told(&self.changes),
                told(&here.changes)
            ));
        }
        found
    }
}

fn checksum(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash)?;
    Ok(hexadecimal(&hash.finalize()))
}

fn git(root: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let mut child = Command::new("git")
        .arg("--no-optional-locks")
        .arg("-C")
        .arg(root)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut output = Vec::new();
    let read = child.stdout.take().map(|stdout| {
        stdout
            .take(CHANGES_BYTES_MAX as u64)
            .read_to_end(&mut output)
    });
    // It may still want to write: nobody reads that.
    let status = child.wait().ok()?;
    let whole = output.len() < CHANGES_BYTES_MAX;
    (read?.is_ok() && (status.success() || !whole)).then_some(output)
}

/// The build id of an ELF file of 64 bits in the order of bytes of x86 and ARM (System V ABI, "note
/// section"; `ld --build-id`).
fn build_id(path: &Path) -> Option<String> {
    const SEGMENT_NOTE: u32 = 4;
    const NOTE_BUILD_ID: u32 = 3;
    const SEGMENTS_MAX: u16 = 256;
    const NOTES_BYTES_MAX: u64 = 1 << 20;
    let mut file = File::open(path).ok()?;
    let mut header = [0; 64];
    file.read_exact(&mut header).ok()?;
    if header[..6] != [0x7f, b'E', b'L', b'F', 2, 1] {
        return None;
    }
    let segments = u64_at(&header, 32)?;
    let (size, count) = (u16_at(&header, 54)?, u16_at(&header, 56)?);
    for index in 0..count.min(SEGMENTS_MAX) {
        let mut segment = [0; 56];
        let place = segments.checked_add(u64::from(index) * u64::from(size))?;
        file.seek(SeekFrom::Start(place)).ok()?;
        file.read_exact(&mut segment).ok()?;
        if u32_at(&segment, 0)? != SEGMENT_NOTE {
            continue;
        }
        let (place, length) = (u64_at(&segment, 8)?, u64_at(&segment, 32)?);
        let mut notes = Vec::new();
        file.seek(SeekFrom::Start(place)).ok()?;
        file.by_ref()
            .take(length.min(NOTES_BYTES_MAX))
            .read_to_end(&mut notes)
            .ok()?;
        let mut rest = &notes[..];
        while let (Some(name), Some(size), Some(kind)) =
            (u32_at(rest, 0), u32_at(rest, 4), u32_at(rest, 8))
        {
            let padded = |length: u32| (length as usize).next_multiple_of(4);
            let begin = 12 + padded(name);
            let id = rest.get(begin..begin.checked_add(size as usize)?)?;
            if kind == NOTE_BUILD_ID && rest.get(12..16) == Some(b"GNU\0") {
                return Some(hexadecimal(id));
            }
            rest = rest.get(begin + padded(size)..).unwrap_or_default();
        }
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
