//! What copies of a program print, each kept apart, in bounded memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

/// Kept of the beginning of a stream, bytes.
const HEAD: usize = 4 << 20;
/// Kept of its end, bytes.
const TAIL: usize = 4 << 20;

/// A stream that is read while its program runs.
#[derive(Debug)]
pub(crate) struct Output(JoinHandle<Kept>);

/// What was kept of a stream.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Output {
    /// Reads until nobody can write any more.
    pub(crate) fn of(read: OwnedFd) -> Output {
        Output(std::thread::spawn(move || {
            let mut kept = Kept::default();
            let mut file = File::from(read);
            let mut bytes = vec![0; 64 << 10];
            loop {
                match file.read(&mut bytes) {
                    Ok(0) => return kept,
                    Ok(count) => kept.take(bytes.get(..count).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return kept,
                }
            }
        }))
    }

    /// What was read, once all who could write are gone.
    pub(crate) fn kept(self) -> Kept {
        self.0.join().unwrap_or_default()
    }
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        let room = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..over);
        self.dropped += over as u64;
    }

    /// Writes it where it belongs.
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.head)?;
        if self.dropped > 0 {
            writeln!(to, "\n[... {} bytes left out ...]", self.dropped)?;
        }
        let (one, two) = self.tail.as_slices();
        to.write_all(one)?;
        to.write_all(two)?;
        to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_kept_in_part() {
        let mut kept = Kept::default();
        for _ in 0..20 {
            kept.take(&vec![b'x'; 1 << 20]);
        }
        kept.take(b"the end");
        let mut text = Vec::new();
        kept.write(&mut text).expect("in memory");
        assert!(text.len() < HEAD + TAIL + 100);
        assert!(text.ends_with(b"the end"));
        assert_eq!(kept.dropped, (12 << 20) + 7);
    }

    #[test]
    fn what_fits_is_kept_as_it_was() {
        let mut kept = Kept::default();
        kept.take(b"one ");
        kept.take(b"two");
        let mut text = Vec::new();
        kept.write(&mut text).expect("in memory");
        assert_eq!(text, b"one two");
    }
}
