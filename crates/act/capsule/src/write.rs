//! How a capsule is made: the same contents give the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::entries::{MANIFEST, SEAL, sha256, wrong_name};
use crate::manifest::Entry;
use crate::secrets::{Environment, Scrubber};
use crate::{Capsule, ENTRIES_MAX, ENTRY_BYTES_MAX, Error, Manifest, TOTAL_BYTES_MAX, at};

/// What a log that is too long keeps of its beginning; the rest is of its end.
const BEGIN_SHARE: u64 = 4;

impl Capsule {
    /// One without attachments.
    #[must_use]
    pub fn new(manifest: Manifest) -> Self {
        Self {
            manifest,
            attachments: BTreeMap::new(),
        }
    }

    /// Takes the environment, without its secrets, and takes those out of all else that is in the capsule
    /// now: call it when the rest is complete. What is attached as bytes that are no text stays as it is.
    pub fn take_environment(&mut self, environment: &Environment) {
        self.manifest.environment.clone_from(&environment.kept);
        self.manifest.left_out = environment.left_out().map(str::to_owned).collect();
        let scrubber = Scrubber::new(environment);
        for bytes in self.attachments.values_mut() {
            if let Some(clean) = scrubber.scrub(bytes) {
                *bytes = clean;
            }
        }
        // A manifest that cannot be taken apart and put together again is kept as it is, and the error
        // of writing it tells.
        if let Ok(mut value) = serde_json::to_value(&self.manifest) {
            scrubber.scrub_strings(&mut value);
            if let Ok(clean) = serde_json::from_value(value) {
                self.manifest = clean;
            }
        }
    }

    /// Attaches a log or another text; of one that is too long its beginning and its end are kept, and
    /// the manifest says so.
    ///
    /// # Errors
    /// The name is none that may be.
    pub fn attach_log(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let limit = usize::try_from(ENTRY_BYTES_MAX).unwrap_or(usize::MAX);
        if bytes.len() <= limit {
            return self.attach(name, bytes.to_vec());
        }
        let cut = format!("\n[{} bytes cut out here]\n", bytes.len() - limit);
        let room = limit - cut.len();
        let begin = room / BEGIN_SHARE as usize;
        let mut kept = bytes[..begin].to_vec();
        kept.extend_from_slice(cut.as_bytes());
        kept.extend_from_slice(&bytes[bytes.len() - (room - begin)..]);
        self.manifest.omitted.push(format!(
            "{name}: {} of {} bytes were cut out",
            bytes.len() - room,
            bytes.len()
        ));
        self.attach(name, kept)
    }

    /// Attaches bytes that are of use only whole (a journal, a core); what is too large is left out, and
    /// the manifest says so.
    ///
    /// # Errors
    /// The name is none that may be.
    pub fn attach(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        if let Some(why) = wrong_name(name) {
            return Err(Error::Name {
                name: name.to_owned(),
                why,
            });
        }
        let before: u64 = self
            .attachments
            .iter()
            .filter(|(other, _)| *other != name)
            .map(|(_, bytes)| bytes.len() as u64)
            .sum();
        let size = bytes.len() as u64;
        let why = if size > ENTRY_BYTES_MAX {
            Some(format!("more than {ENTRY_BYTES_MAX}"))
        } else if before + size > TOTAL_BYTES_MAX {
            Some(format!("with the others more than {TOTAL_BYTES_MAX}"))
        } else if self.attachments.len() >= ENTRIES_MAX && !self.attachments.contains_key(name) {
            Some(format!("after {ENTRIES_MAX} others"))
        } else {
            None
        };
        match why {
            Some(why) => {
                let line = format!("{name}: left out, it has {size} bytes, {why}");
                self.manifest.omitted.push(line);
            }
            None => {
                self.attachments.insert(name.to_owned(), bytes);
            }
        }
        Ok(())
    }

    /// Writes it to `path` in place of what is there, and gives its size in bytes. A capsule that is
    /// there stays whole until the new one is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<u64, Error> {
        let bytes = self.to_bytes().map_err(at("write", path))?;
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = Path::new(&new);
        let written = fs::File::create(new).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_data()
        });
        written.map_err(at("write", new))?;
        fs::rename(new, path).map_err(at("write", path))?;
        Ok(bytes.len() as u64)
    }

    /// The bytes of the file.
    fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut manifest = self.manifest.clone();
        let told = self.attachments.iter().map(|(name, bytes)| Entry {
            name: name.clone(),
            size: bytes.len() as u64,
            sha256: sha256(bytes),
        });
        manifest.entries = told.collect();
        let manifest = serde_json::to_vec_pretty(&manifest)?;
        // No time and no name in the header of gzip either.
        let gzip = GzBuilder::new()
            .mtime(0)
            .write(Vec::new(), Compression::default());
        let mut archive = Builder::new(gzip);
        append(&mut archive, MANIFEST, &manifest)?;
        append(&mut archive, SEAL, sha256(&manifest).as_bytes())?;
        for (name, bytes) in &self.attachments {
            append(&mut archive, name, bytes)?;
        }
        archive.into_inner()?.finish()
    }
}

fn append(archive: &mut Builder<impl Write>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    archive.append(&header, bytes)
}
