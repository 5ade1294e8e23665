//! Writes an initial file system for the Linux kernel: a cpio archive of the "newc" form, as in the
//! kernel's `driver-api/early-userspace/buffer-format`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const FOLDER: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const REGULAR: u32 = 0o100_000;
/// Headers and contents begin at multiples of this.
const ALIGNED: usize = 4;

/// An archive under way.
pub(super) struct Initramfs {
    out: BufWriter<File>,
    folders: BTreeSet<PathBuf>,
    entries: u32,
}

impl Initramfs {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::new(File::create(path)?),
            folders: BTreeSet::new(),
            entries: 0,
        })
    }

    /// A folder, and those it lies in.
    pub(super) fn folder(&mut self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<PathBuf> = path
            .ancestors()
            .filter(|above| !above.as_os_str().is_empty() && !self.folders.contains(*above))
            .map(Path::to_path_buf)
            .collect();
        while let Some(folder) = missing.pop() {
            self.entry(&folder, FOLDER, &[])?;
            self.folders.insert(folder);
        }
        Ok(())
    }

    /// A program or library under the name that it has here.
    pub(super) fn same(&mut self, path: &Path) -> io::Result<()> {
        let inside = path.strip_prefix("/").unwrap_or(path);
        self.file(&inside.to_string_lossy(), path)
    }

    /// The file `source` as `name`.
    pub(super) fn file(&mut self, name: &str, source: &Path) -> io::Result<()> {
        let mode = source.metadata()?.permissions().mode() & 0o777;
        let bytes = std::fs::read(source)?;
        self.put(name, REGULAR | mode, &bytes)
    }

    /// A text file.
    pub(super) fn text(&mut self, name: &str, text: &str, mode: u32) -> io::Result<()> {
        self.put(name, REGULAR | mode, text.as_bytes())
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.put(name, LINK, target.as_bytes())
    }

    /// Closes the archive.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.entry(Path::new("TRAILER!!!"), 0, &[])?;
        self.out.flush()
    }

    fn put(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let path = Path::new(name);
        if let Some(folder) = path.parent() {
            self.folder(folder)?;
        }
        self.entry(path, mode, content)
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut name = path.to_string_lossy().into_owned().into_bytes();
        name.push(0);
        self.entries += 1;
        let size = u32::try_from(content.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // Number, mode, owner, group, links, time, size, device twice two, length of the name, checksum.
        let links = 1;
        let length = name.len() as u32;
        let fields = [
            self.entries,
            mode,
            0,
            0,
            links,
            0,
            size,
            0,
            0,
            0,
            0,
            length,
            0,
        ];
        let mut header = b"070701".to_vec();
        for field in fields {
            header.extend(format!("{field:08x}").bytes());
        }
        header.extend(name);
        pad(&mut header);
        self.out.write_all(&header)?;
        self.out.write_all(content)?;
        let rest = content.len().next_multiple_of(ALIGNED) - content.len();
        self.out.write_all(&[0; ALIGNED][..rest])
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNED), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_as_the_kernel_wants_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let mut image = Initramfs::create(&path).unwrap();
        image.text("a/b", "hello", 0o644).unwrap();
        image.finish().unwrap();
        let bytes = std::fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let headers: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(headers.len(), 3, "the folder, the file, the trailer");
        assert!(headers.iter().all(|at| at % ALIGNED == 0), "{headers:?}");
        // Mode and size of the file.
        let file = &text[headers[1]..];
        assert_eq!((&file[14..22], &file[54..62]), ("000081a4", "00000005"));
        assert!(text.contains(concat!("hello\0\0\0", "070701")));
    }
}
