//! Words that a program compares its input with: text in the read-only data of its file, and lines of a dictionary.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Larger programs are not read, bytes.
const PROGRAM_MAX: u64 = 256 << 20;
/// Lengths of words, bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 2..=24;
/// Most words of a program.
const WORDS_MAX: usize = 4096;

/// Text in the `.rodata` of an ELF file of 64 bits, each once; none of other files.
pub(crate) fn of_program(program: &Path) -> Vec<Vec<u8>> {
    let small = fs::metadata(program).is_ok_and(|meta| meta.len() <= PROGRAM_MAX);
    let Some(file) = small.then(|| fs::read(program).ok()).flatten() else {
        return Vec::new();
    };
    let data = rodata(&file).unwrap_or_else(|| script(&file));
    let runs = data.split(|byte| !(b' '..=b'~').contains(byte));
    let words = runs.flat_map(|run| {
        let whole = LENGTHS.contains(&run.len()).then_some(run);
        let parts = run.split(|byte| !byte.is_ascii_alphanumeric() && !b"-_".contains(byte));
        whole
            .into_iter()
            .chain(parts.filter(|part| LENGTHS.contains(&part.len())))
    });
    let once: BTreeSet<&[u8]> = words.take(WORDS_MAX * 4).collect();
    once.into_iter()
        .take(WORDS_MAX)
        .map(<[u8]>::to_vec)
        .collect()
}

/// A script is its own text.
fn script(file: &[u8]) -> &[u8] {
    if file.starts_with(b"#!") { file } else { &[] }
}

/// The section (System V ABI, "ELF-64 Object File Format", version 1.5).
fn rodata(file: &[u8]) -> Option<&[u8]> {
    let number = |at: usize, width: usize| -> Option<usize> {
        let bytes = file.get(at..at.checked_add(width)?)?;
        let value = bytes
            .iter()
            .rev()
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        usize::try_from(value).ok()
    };
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?);
    let header = |index: usize| table.checked_add(index.checked_mul(size)?);
    let names = number(header(number(0x3e, 2)?)? + 0x18, 8)?;
    (0..count).find_map(|index| {
        let header = header(index)?;
        let name = file.get(names.checked_add(number(header, 4)?)?..)?;
        let (from, length) = (number(header + 0x18, 8)?, number(header + 0x20, 8)?);
        name.starts_with(b".rodata\0")
            .then(|| file.get(from..from.checked_add(length)?))
            .flatten()
    })
}

/// The words of a dictionary of AFL or libFuzzer (`name="value"`, `"\x00"`); lines that are none are left out.
pub(crate) fn of_dictionary(text: &str) -> Vec<Vec<u8>> {
    let value = |line: &str| {
        let line = line.trim();
        let quoted = line.get(line.find('"')? + 1..)?.strip_suffix('"')?;
        (!line.starts_with('#')).then(|| unescaped(quoted))
    };
    text.lines()
        .filter_map(value)
        .filter(|word| !word.is_empty())
        .collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let hex = behind.strip_prefix(b"x").and_then(|digits| digits.get(..2));
        let hex = hex.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        (rest, _) = match (first, hex, behind) {
            (b'\\', Some(byte), _) => (&behind[3..], bytes.push(byte)),
            (b'\\', None, [next, behind @ ..]) => (behind, bytes.push(*next)),
            _ => (behind, bytes.push(*first)),
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_read_as_its_tools_read_it() {
        let text = "# comment \"no\"\nkw1=\"GET\"\n\"\\x00\\xff\\\\\\\"a\"\nbroken\n";
        assert_eq!(
            of_dictionary(text),
            [b"GET".to_vec(), b"\x00\xff\\\"a".to_vec()]
        );
    }

    #[test]
    fn this_program_holds_its_own_words() {
        let program = std::env::current_exe().unwrap();
        let file = fs::read(program).unwrap();
        let data = rodata(&file).unwrap();
        assert!(data.windows(7).any(|part| part == b".rodata"));
        assert_eq!(rodata(&file[..100]), None);
        assert_eq!(rodata(b"\x7fELF\x02\x01"), None);
    }
}
