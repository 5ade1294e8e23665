//! Inputs without a known structure: bytes that a program reads, changed without asking what they mean.
//!
//! ```text
//!   seeds, what was new --> Bytes::keep --> pool --> Bytes::draw: one of it, changed 1 to 16 times --> the program
//! ```
//!
//! The changes are those that AFL made common (Zalewski, "Binary fuzzing strategies", 2014): bits, bytes and numbers of
//! some widths, values at the ends of ranges, blocks that are left out, doubled or put elsewhere, the end of another input, and
//! words that the program's own file holds.
//!
//! Promise: the same seed and the same calls give the same inputs. No input is longer than the bound.

use crate::random::Random;

/// Most inputs that are kept; the oldest of those that were not seeds go first.
const KEPT_MAX: usize = 4096;
/// Changes made to one input: 1, 2, 4, 8 or 16.
const DOUBLINGS: usize = 5;
/// Numbers at the ends of what fields hold.
const ENDS: [i64; 16] = [
    0,
    1,
    -1,
    16,
    32,
    64,
    100,
    127,
    128,
    255,
    256,
    1024,
    32_767,
    65_535,
    i32::MAX as i64,
    i32::MIN as i64,
];
/// The same as text.
const ENDS_TEXT: [&str; 6] = [
    "0",
    "-1",
    "255",
    "65536",
    "4294967296",
    "99999999999999999999",
];
/// Longest block that is moved, in bytes.
const BLOCK_MAX: usize = 64;

/// Draws inputs from what was kept.
#[derive(Clone, Debug)]
pub struct Bytes {
    random: Random,
    pool: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    longest: usize,
}

impl Bytes {
    /// `words` are put in as they are; no input gets longer than `longest` bytes.
    #[must_use]
    pub fn new(seed: u64, words: Vec<Vec<u8>>, longest: usize) -> Self {
        Self {
            random: Random::new(seed),
            pool: Vec::new(),
            words,
            longest: longest.max(1),
        }
    }

    /// One more to start from: a seed, or one after which the program did what it had not done before.
    pub fn keep(&mut self, mut input: Vec<u8>) {
        input.truncate(self.longest);
        if self.pool.len() >= KEPT_MAX {
            self.pool.remove(KEPT_MAX / 2);
        }
        self.pool.push(input);
    }

    /// How many are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.pool.len()
    }

    /// The next input.
    pub fn draw(&mut self) -> Vec<u8> {
        let mut input = self.parent();
        for _ in 0..1_usize << self.random.below(DOUBLINGS) {
            self.change(&mut input);
            input.truncate(self.longest);
        }
        input
    }

    /// What was found last is tried more often: half of the time one of the newest eighth.
    fn parent(&mut self) -> Vec<u8> {
        let count = self.pool.len();
        if count == 0 {
            return Vec::new();
        }
        let newest = (count / 8).max(1);
        let at = match self.random.once_in(2) {
            true => count - 1 - self.random.below(newest),
            false => self.random.below(count),
        };
        self.pool[at].clone()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        if input.is_empty() {
            return self.put_in(input);
        }
        let at = self.random.below(input.len());
        match self.random.below(10) {
            0 => input[at] ^= 1 << self.random.below(8),
            1 => input[at] = self.random.bits() as u8,
            2 => {
                let by = self.random.below(71) as u8;
                input[at] = input[at].wrapping_add(by).wrapping_sub(35);
            }
            3 => self.number(input, at),
            4 => {
                let end = (at + self.block()).min(input.len());
                input.drain(at..end);
            }
            5 => {
                let end = (at + self.block()).min(input.len());
                let block = input[at..end].to_vec();
                let to = self.random.below(input.len() + 1);
                input.splice(to..to, block);
            }
            6 => self.end_of_another(input, at),
            7 => self.replace_with_word(input, at),
            _ => self.put_in(input),
        }
    }

    fn block(&mut self) -> usize {
        1 + self
            .random
            .below(1 << self.random.clone().below(BLOCK_MAX.ilog2() as usize + 1))
    }

    /// A number of 2, 4 or 8 bytes at the end of a range, either byte first.
    fn number(&mut self, input: &mut [u8], at: usize) {
        let width = 2 << self.random.below(3);
        let value = *self.random.pick(&ENDS);
        let bytes = match self.random.once_in(2) {
            true => value.to_le_bytes()[..width].to_vec(),
            false => value.to_be_bytes()[8 - width..].to_vec(),
        };
        for (to, from) in input[at..].iter_mut().zip(bytes) {
            *to = from;
        }
    }

    fn end_of_another(&mut self, input: &mut Vec<u8>, at: usize) {
        let other = self.parent();
        let from = self.random.below(other.len() + 1);
        input.truncate(at);
        input.extend_from_slice(&other[from..]);
    }

    fn replace_with_word(&mut self, input: &mut [u8], at: usize) {
        let word = self.word();
        for (to, from) in input[at..].iter_mut().zip(word) {
            *to = from;
        }
    }

    fn word(&mut self) -> Vec<u8> {
        if self.words.is_empty() || self.random.once_in(8) {
            return self.random.pick(&ENDS_TEXT).as_bytes().to_vec();
        }
        self.random.pick(&self.words).clone()
    }

    /// A word, a run of one byte, or some bytes, anywhere.
    fn put_in(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        let new: Vec<u8> = match self.random.below(4) {
            0 => vec![self.random.bits() as u8; self.block()],
            1 => (0..self.block())
                .map(|_| self.random.bits() as u8)
                .collect(),
            _ => self.word(),
        };
        input.splice(at..at, new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, count: usize) -> Vec<Vec<u8>> {
        let mut bytes = Bytes::new(seed, vec![b"MAGIC".to_vec()], 200);
        bytes.keep(b"a seed of some length".to_vec());
        (0..count).map(|_| bytes.draw()).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        assert_eq!(drawn(1, 500), drawn(1, 500));
        assert_ne!(drawn(1, 500), drawn(2, 500));
    }

    #[test]
    fn no_input_is_longer_than_the_bound() {
        assert!(drawn(3, 5000).iter().all(|input| input.len() <= 200));
    }

    #[test]
    fn words_stand_at_the_beginning_of_some() {
        assert!(
            drawn(4, 5000)
                .iter()
                .any(|input| input.starts_with(b"MAGIC"))
        );
    }

    #[test]
    fn from_nothing_something_is_made() {
        let mut bytes = Bytes::new(5, Vec::new(), 64);
        assert_eq!(bytes.kept(), 0);
        assert!((0..100).any(|_| bytes.draw().len() > 8));
    }
}
