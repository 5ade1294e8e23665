//! Files of `/proc` and `/sys/fs/cgroup`, opened once and read again and again, and the few
//! integers that are wanted from them.
//!
//! Telemetry reads dozens of these ten times a second, so a reading is one `pread` into a buffer
//! that is kept, and numbers are parsed by hand from the bytes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The kernel hands out at most one page of a list per `read`; what comes back shorter than this
/// is the whole file.
const WHOLE_BELOW_BYTES: usize = 4096 - 256;

/// The bytes of one reading. Kept by the reader, so that readings do not allocate.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            bytes: vec![0; 8192],
        }
    }
}

/// A file that the kernel writes anew at each reading.
#[derive(Debug)]
pub struct KernelFile {
    file: File,
}

impl KernelFile {
    /// Opens it for reading.
    ///
    /// # Errors
    /// What `open` says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
        })
    }

    /// Opens it if it is there and may be read. What it would tell is then left at zero.
    #[must_use]
    pub fn open_if_there(path: &Path) -> Option<Self> {
        Self::open(path).ok()
    }

    /// All its bytes as they are now.
    ///
    /// # Errors
    /// What `pread` says; `ENODEV` when the control group behind it is gone.
    pub fn read<'b>(&self, buffer: &'b mut Buffer) -> io::Result<&'b [u8]> {
        let mut filled = 0;
        loop {
            if filled == buffer.bytes.len() {
                buffer.bytes.resize(filled * 2, 0);
            }
            let got = match self
                .file
                .read_at(&mut buffer.bytes[filled..], filled as u64)
            {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            filled += got;
            if got == 0 || filled < WHOLE_BELOW_BYTES {
                return Ok(&buffer.bytes[..filled]);
            }
        }
    }

    /// The first number in it.
    #[must_use]
    pub fn number(&self, buffer: &mut Buffer) -> Option<u64> {
        number(self.read(buffer).ok()?)
    }
}

impl From<File> for KernelFile {
    fn from(file: File) -> Self {
        Self { file }
    }
}

impl AsFd for KernelFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The decimal number that the bytes begin with, blanks before it skipped.
#[must_use]
pub fn number(bytes: &[u8]) -> Option<u64> {
    let bytes = bytes.trim_ascii_start();
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    let mut value: Option<u64> = None;
    for digit in digits {
        let so_far = value.unwrap_or(0);
        value = Some(
            so_far
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?,
        );
    }
    value
}

/// The number behind `key` in a file of `key value` lines.
#[must_use]
pub fn field(text: &[u8], key: &str) -> Option<u64> {
    lines(text).find_map(|line| number(line.strip_prefix(key.as_bytes())?.strip_prefix(b" ")?))
}

/// The numbers behind several keys, in one pass; 0 for those that are not there.
#[must_use]
pub fn fields<const N: usize>(text: &[u8], keys: [&str; N]) -> [u64; N] {
    let mut values = [0; N];
    let mut left = N;
    for line in lines(text) {
        let Some(blank) = line.iter().position(|byte| *byte == b' ') else {
            continue;
        };
        if let Some(at) = keys.iter().position(|key| key.as_bytes() == &line[..blank]) {
            values[at] = number(&line[blank..]).unwrap_or(0);
            left -= 1;
            if left == 0 {
                break;
            }
        }
    }
    values
}

/// The number behind `key=` in one line of `key=value` words.
#[must_use]
pub fn word(line: &[u8], key: &str) -> Option<u64> {
    line.split(u8::is_ascii_whitespace)
        .find_map(|word| number(word.strip_prefix(key.as_bytes())?.strip_prefix(b"=")?))
}

/// Its lines, without their ends.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
}

/// The process ids in a `cgroup.procs` or `children` file. Processes that this pid namespace
/// cannot see appear as 0 there and are left out.
pub fn pids(text: &[u8]) -> impl Iterator<Item = i32> {
    text.split(u8::is_ascii_whitespace)
        .filter_map(number)
        .filter_map(|pid| i32::try_from(pid).ok())
        .filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_larger_than_the_buffer_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cgroup.procs");
        let text: String = (1..=40_000).map(|pid| format!("{pid}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        let file = KernelFile::open(&path).unwrap();
        let mut buffer = Buffer::default();
        assert_eq!(pids(file.read(&mut buffer).unwrap()).count(), 40_000);
    }

    #[test]
    fn a_real_file_of_proc_is_read_whole() {
        let file = KernelFile::open(Path::new("/proc/self/mountinfo")).unwrap();
        let mut buffer = Buffer::default();
        let ours = file.read(&mut buffer).unwrap().to_vec();
        assert_eq!(ours, std::fs::read("/proc/self/mountinfo").unwrap());
    }

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, tail in "[^0-9]?.*") {
            let text = format!("{value}{}", if tail.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &tail });
            prop_assert_eq!(number(text.as_bytes()), Some(value));
        }

        #[test]
        fn fields_come_back(values in prop::collection::vec(any::<u64>(), 1..20)) {
            let text: String = values.iter().enumerate().map(|(at, value)| format!("key_{at} {value}\n")).collect();
            for (at, value) in values.iter().enumerate() {
                prop_assert_eq!(field(text.as_bytes(), &format!("key_{at}")), Some(*value));
            }
            let last = format!("key_{}", values.len() - 1);
            prop_assert_eq!(fields(text.as_bytes(), [&last, "key_0", "none"]), [
                if values.len() == 1 { values[0] } else { values[values.len() - 1] },
                if values.len() == 1 { 0 } else { values[0] },
                0,
            ]);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = number(&bytes);
            let _ = field(&bytes, "some");
            let _ = word(&bytes, "total");
            prop_assert!(pids(&bytes).all(|pid| pid > 0));
        }
    }
}
