//! How a capsule is read: nothing in it is trusted.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use flate2::bufread::GzDecoder;
use serde::Deserialize;
use tar::{Archive, Entry};

use crate::entries::{MANIFEST, SEAL, sha256, wrong_name};
use crate::{Capsule, ENTRIES_MAX, ENTRY_BYTES_MAX, Error, FORMAT, Manifest, TOTAL_BYTES_MAX, at};

/// Largest manifest, bytes.
const MANIFEST_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// What tar adds to each entry at most, bytes: its header, and zeros up to the next block.
const BLOCKS_BYTES: u64 = 1024;
/// How the file begins (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What every version has.
#[derive(Deserialize)]
struct Version {
    format: u32,
    #[serde(default)]
    made_by: String,
}

/// The unpacked bytes.
type Unpacked = Bounded<GzDecoder<BufReader<File>>>;
type Entries<'a> = tar::Entries<'a, Unpacked>;

impl Capsule {
    /// Reads a capsule.
    ///
    /// # Errors
    /// One of [`Error`]'s, for each thing that is not as it was written.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(at("open", path))?;
        let mut file = BufReader::new(file);
        let reader = Reader { path };
        reader.check_start(&mut file)?;
        let most = TOTAL_BYTES_MAX + MANIFEST_BYTES_MAX + (ENTRIES_MAX as u64 + 4) * BLOCKS_BYTES;
        let mut archive = Archive::new(Bounded {
            inner: GzDecoder::new(file),
            left: most,
        });
        let mut entries = archive
            .entries()
            .map_err(|error| reader.broken(error, MANIFEST))?
            .raw(true);
        let manifest = reader.manifest(&mut entries)?;
        let attachments = reader.attachments(&manifest, &mut entries)?;
        // What stands behind, up to the checksum of the compression.
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(|error| reader.broken(error, "its end"))?;
        Ok(Capsule {
            manifest,
            attachments,
        })
    }

    /// Writes manifest and attachments as files into `directory`, which is made, or is there and empty.
    ///
    /// # Errors
    /// It is not empty, or cannot be written.
    pub fn extract(&self, directory: &Path) -> Result<(), Error> {
        fs::create_dir_all(directory).map_err(at("create", directory))?;
        let mut inside = fs::read_dir(directory).map_err(at("list", directory))?;
        if inside.next().is_some() {
            return Err(Error::NotEmpty {
                path: directory.to_path_buf(),
            });
        }
        let manifest = directory.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&self.manifest).map_err(io::Error::from);
        fs::write(&manifest, text.map_err(at("write", &manifest))?)
            .map_err(at("write", &manifest))?;
        for (name, bytes) in &self.attachments {
            if let Some(why) = wrong_name(name) {
                return Err(Error::Name {
                    name: name.clone(),
                    why,
                });
            }
            let path = directory.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(at("create", parent))?;
            }
            // Never over what is there, and so through no link either.
            let file = OpenOptions::new().write(true).create_new(true).open(&path);
            file.and_then(|mut file| file.write_all(bytes))
                .map_err(at("write", &path))?;
        }
        Ok(())
    }
}

/// Who reads which file.
struct Reader<'p> {
    path: &'p Path,
}

impl Reader<'_> {
    fn check_start(&self, file: &mut BufReader<File>) -> Result<(), Error> {
        let start = io::BufRead::fill_buf(file).map_err(at("read", self.path))?;
        let why = match start {
            [] => "it is empty",
            [one, other, ..] if [*one, *other] == GZIP => return Ok(()),
            [one] if *one == GZIP[0] => return Err(self.cut("its first bytes")),
            _ => "it does not begin as one",
        };
        Err(self.no_capsule(why))
    }

    fn manifest(&self, entries: &mut Entries<'_>) -> Result<Manifest, Error> {
        let mut first = self
            .next(entries, MANIFEST)?
            .ok_or_else(|| self.cut(MANIFEST))?;
        if self.name(&first)? != MANIFEST {
            return Err(self.no_capsule("an archive without a manifest at its beginning"));
        }
        let bytes = self.bytes(&mut first, MANIFEST, MANIFEST_BYTES_MAX)?;
        let mut second = self.next(entries, SEAL)?.ok_or_else(|| self.cut(SEAL))?;
        if self.name(&second)? != SEAL {
            return Err(self.changed("the checksum of its manifest is missing"));
        }
        let seal = self.bytes(&mut second, SEAL, BLOCKS_BYTES)?;
        // What a later version looks like is known to it alone.
        let version: Version = serde_json::from_slice(&bytes)
            .map_err(|error| self.changed(&format!("its manifest says no version: {error}")))?;
        if version.format > FORMAT {
            return Err(Error::Later {
                path: self.path.to_path_buf(),
                format: version.format,
                made_by: version.made_by,
                known: FORMAT,
            });
        }
        if seal != sha256(&bytes).as_bytes() {
            return Err(self.changed("its manifest has another checksum"));
        }
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| {
            self.changed(&format!("its manifest cannot be understood: {error}"))
        })?;
        self.check_declared(&manifest)?;
        Ok(manifest)
    }

    /// What the manifest says of the attachments is looked at before any is read.
    fn check_declared(&self, manifest: &Manifest) -> Result<(), Error> {
        if manifest.entries.len() > ENTRIES_MAX {
            let what = format!(
                "{} attachments, more than {ENTRIES_MAX}",
                manifest.entries.len()
            );
            return Err(self.too_large(what));
        }
        let mut total = 0_u64;
        for entry in &manifest.entries {
            self.check_name(&entry.name)?;
            if entry.size > ENTRY_BYTES_MAX {
                let what = format!(
                    "{} of {} bytes, more than {ENTRY_BYTES_MAX}",
                    entry.name, entry.size
                );
                return Err(self.too_large(what));
            }
            total += entry.size;
        }
        if total > TOTAL_BYTES_MAX {
            return Err(self.too_large(format!("{total} bytes, more than {TOTAL_BYTES_MAX}")));
        }
        Ok(())
    }

    fn attachments(
        &self,
        manifest: &Manifest,
        entries: &mut Entries<'_>,
    ) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut attachments = BTreeMap::new();
        for told in &manifest.entries {
            let Some(mut entry) = self.next(entries, &told.name)? else {
                return Err(self.cut(&told.name));
            };
            let name = self.name(&entry)?;
            if name != told.name {
                return Err(self.changed(&format!("{name} stands where {} should", told.name)));
            }
            let size = entry
                .header()
                .entry_size()
                .map_err(|error| self.broken(error, &name))?;
            if size != told.size {
                return Err(
                    self.changed(&format!("{name} has {size} bytes instead of {}", told.size))
                );
            }
            let bytes = self.bytes(&mut entry, &name, ENTRY_BYTES_MAX)?;
            if sha256(&bytes) != told.sha256 {
                return Err(self.changed(&format!("{name} has another checksum")));
            }
            if attachments.insert(name.clone(), bytes).is_some() {
                return Err(self.changed(&format!("{name} stands in it twice")));
            }
        }
        if let Some(entry) = self.next(entries, "its end")? {
            let name = self.name(&entry)?;
            return Err(self.changed(&format!("{name} was added")));
        }
        Ok(attachments)
    }

    fn next<'a>(
        &self,
        entries: &mut Entries<'a>,
        within: &str,
    ) -> Result<Option<Entry<'a, Unpacked>>, Error> {
        entries
            .next()
            .transpose()
            .map_err(|error| self.broken(error, within))
    }

    /// The name of a plain file.
    fn name(&self, entry: &Entry<'_, impl Read>) -> Result<String, Error> {
        let bytes = entry.header().path_bytes();
        let name = String::from_utf8_lossy(&bytes).into_owned();
        if !entry.header().entry_type().is_file() {
            return Err(self.escapes(&name, "which is no plain file"));
        }
        if name != MANIFEST && name != SEAL {
            self.check_name(&name)?;
        }
        Ok(name)
    }

    fn check_name(&self, name: &str) -> Result<(), Error> {
        match wrong_name(name) {
            Some(why) => Err(self.escapes(name, why)),
            None => Ok(()),
        }
    }

    fn bytes(
        &self,
        entry: &mut Entry<'_, impl Read>,
        name: &str,
        most: u64,
    ) -> Result<Vec<u8>, Error> {
        let size = entry
            .header()
            .entry_size()
            .map_err(|error| self.broken(error, name))?;
        if size > most {
            return Err(self.too_large(format!("{name} of {size} bytes, more than {most}")));
        }
        // The size is what the file says: memory is taken only as bytes come.
        let mut bytes = Vec::new();
        let read = entry.read_to_end(&mut bytes);
        read.map_err(|error| self.broken(error, name))?;
        if (bytes.len() as u64) < size {
            return Err(self.cut(name));
        }
        Ok(bytes)
    }

    fn no_capsule(&self, why: &str) -> Error {
        Error::NoCapsule {
            path: self.path.to_path_buf(),
            why: why.to_owned(),
        }
    }

    fn cut(&self, within: &str) -> Error {
        Error::Cut {
            path: self.path.to_path_buf(),
            within: within.to_owned(),
        }
    }

    fn changed(&self, what: &str) -> Error {
        Error::Changed {
            path: self.path.to_path_buf(),
            what: what.to_owned(),
        }
    }

    fn escapes(&self, name: &str, why: &'static str) -> Error {
        Error::Escapes {
            path: self.path.to_path_buf(),
            name: name.to_owned(),
            why,
        }
    }

    fn too_large(&self, what: String) -> Error {
        Error::TooLarge {
            path: self.path.to_path_buf(),
            what,
        }
    }

    /// What an error of the archive or of its compression means.
    fn broken(&self, error: io::Error, within: &str) -> Error {
        if is_limit(&error) {
            return self.too_large(format!("{within} goes on and on"));
        }
        match error.kind() {
            ErrorKind::UnexpectedEof => self.cut(within),
            ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::Other => {
                // tar wraps what happened below it.
                let text = error.to_string();
                if text.contains("unexpected EOF") || text.contains("failed to fill") {
                    self.cut(within)
                } else {
                    self.changed(&format!("{within} cannot be unpacked ({text})"))
                }
            }
            _ => at("read", self.path)(error),
        }
    }
}

/// Said by [`Bounded`]; tar passes it on within an error of its own.
const LIMIT: &str = "unpacked to more than it may";

fn is_limit(error: &io::Error) -> bool {
    error.to_string().contains(LIMIT)
}

/// Gives so many bytes and then an error.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other(LIMIT))?;
        Ok(read)
    }
}
