//! A text as a tree that can be minimized: blocks of lines, lines, words; and back.

use super::tree::Branch;

/// From this length on, in bytes, a word is cut into pieces as well.
const LONG_WORD: usize = 24;

/// A part of a text: from this byte up to that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// The first byte.
    pub start: usize,
    /// The one after the last.
    pub end: usize,
}

/// The text as blocks (divided by empty lines), which consist of lines, which consist of words with the white
/// space after them; long words consist of halves, and so on. Nothing is left out. Bytes
/// that are no UTF-8 are as good as any other.
#[must_use]
pub fn tree(text: &[u8]) -> Vec<Branch<Piece>> {
    let mut blocks: Vec<Branch<Piece>> = Vec::new();
    let mut block = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let empty = line.trim_ascii().is_empty();
        block.push(Branch::group(words(line, start)));
        start += line.len();
        if empty {
            blocks.push(Branch::group(std::mem::take(&mut block)));
        }
    }
    if !block.is_empty() {
        blocks.push(Branch::group(block));
    }
    blocks
}

fn words(line: &[u8], at: usize) -> Vec<Branch<Piece>> {
    let mut found = Vec::new();
    let mut start = 0;
    for place in 0..line.len() {
        let last = place + 1 == line.len();
        let ends = line[place].is_ascii_whitespace() && !line[place + 1..].is_empty();
        let ends = ends && !line[place + 1].is_ascii_whitespace();
        if last || ends {
            found.push(halves(at + start, at + place + 1));
            start = place + 1;
        }
    }
    found
}

fn halves(start: usize, end: usize) -> Branch<Piece> {
    if end - start <= LONG_WORD {
        return Branch::leaf(Piece { start, end });
    }
    let middle = start + (end - start) / 2;
    Branch::group(vec![halves(start, middle), halves(middle, end)])
}

/// What the pieces of `text` make up.
#[must_use]
pub fn joined(text: &[u8], pieces: &[Piece]) -> Vec<u8> {
    let parts = pieces.iter().filter_map(|p| text.get(p.start..p.end));
    parts.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(branches: &[Branch<Piece>]) -> Vec<Piece> {
        let mut all = Vec::new();
        for branch in branches {
            all.extend(&branch.own);
            all.extend(leaves(&branch.children));
        }
        all
    }

    #[test]
    fn nothing_of_a_text_is_lost() {
        let long = "x".repeat(1000);
        for text in [
            "",
            "\n",
            "a b\n\n  c\td \n",
            "no end",
            long.as_str(),
            "\u{e9}\n\n\n",
        ] {
            let pieces = leaves(&tree(text.as_bytes()));
            assert_eq!(joined(text.as_bytes(), &pieces), text.as_bytes());
        }
        assert_eq!(tree(b"a b\nc\n\nd").len(), 2);
    }
}
