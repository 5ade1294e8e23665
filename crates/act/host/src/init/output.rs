//! What is kept of an output stream: its head and its tail, in bounded memory.
//!
//! ```text
//! written:  hhhhhhhh................tttttttt
//! kept:     hhhhhhhh\n[... 16 bytes not kept ...]\ntttttttt
//! ```
//!
//! Memory grows with what is written, up to the limit and no further, however much follows.

use std::io::Write;

/// Head and tail of what was pushed, and a count of what was not kept.
#[derive(Debug)]
pub(super) struct Capture {
    head: Vec<u8>,
    head_bytes_max: usize,
    /// A ring once it is full; `oldest` is where it starts.
    tail: Vec<u8>,
    tail_bytes_max: usize,
    oldest: usize,
    dropped_bytes: u64,
}

impl Capture {
    /// Keeps at most `bytes_max`, half at each end.
    pub(super) fn new(bytes_max: usize) -> Capture {
        let tail_bytes_max = bytes_max / 2;
        Capture {
            head: Vec::new(),
            head_bytes_max: bytes_max - tail_bytes_max,
            tail: Vec::new(),
            tail_bytes_max,
            oldest: 0,
            dropped_bytes: 0,
        }
    }

    /// Takes what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(self.head_bytes_max - self.head.len()));
        self.head.extend_from_slice(head);
        let skipped = rest.len().saturating_sub(self.tail_bytes_max);
        self.dropped_bytes += skipped as u64;
        let rest = &rest[skipped..];
        let (grow, wrap) = rest.split_at(rest.len().min(self.tail_bytes_max - self.tail.len()));
        self.tail.extend_from_slice(grow);
        self.dropped_bytes += wrap.len() as u64;
        self.overwrite_oldest(wrap);
    }

    /// `bytes` is never longer than the ring.
    fn overwrite_oldest(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let (to_end, from_start) = bytes.split_at(bytes.len().min(self.tail.len() - self.oldest));
        self.tail[self.oldest..][..to_end.len()].copy_from_slice(to_end);
        self.tail[..from_start.len()].copy_from_slice(from_start);
        self.oldest = (self.oldest + bytes.len()) % self.tail.len();
    }

    /// What was kept, with a line between head and tail when something is missing there, and how
    /// many bytes are missing.
    pub(super) fn finish(mut self) -> (Vec<u8>, u64) {
        self.tail.rotate_left(self.oldest);
        let mut kept = self.head;
        if self.dropped_bytes > 0 {
            let break_line = if kept.last().is_none_or(|last| *last == b'\n') {
                ""
            } else {
                "\n"
            };
            let marker = format!(
                "{break_line}[... {} bytes not kept ...]\n",
                self.dropped_bytes
            );
            kept.write_all(marker.as_bytes())
                .expect("a Vec takes every write");
        }
        kept.extend_from_slice(&self.tail);
        (kept, self.dropped_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_middle_gives_way_to_a_line() {
        let mut capture = Capture::new(8);
        capture.push(b"head");
        capture.push(b"middle");
        capture.push(b"tail");
        let (kept, dropped) = capture.finish();
        assert_eq!(
            String::from_utf8(kept).unwrap(),
            "head\n[... 6 bytes not kept ...]\ntail"
        );
        assert_eq!(dropped, 6);
    }

    proptest! {
        #[test]
        fn keeps_exactly_both_ends(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..12),
            bytes_max in 0_usize..60,
        ) {
            let all = pieces.concat();
            let mut capture = Capture::new(bytes_max);
            for piece in &pieces {
                capture.push(piece);
            }
            prop_assert!(capture.head.len() + capture.tail.len() <= bytes_max);
            let (kept, dropped) = capture.finish();
            prop_assert_eq!(dropped, all.len().saturating_sub(bytes_max) as u64);
            if dropped == 0 {
                prop_assert_eq!(kept, all);
            } else {
                let tail = bytes_max / 2;
                prop_assert!(kept.starts_with(&all[..bytes_max - tail]));
                prop_assert!(kept.ends_with(&all[all.len() - tail..]));
            }
        }
    }
}
