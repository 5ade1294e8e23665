//! Names of frames with their lines, and those of functions that were compiled into others.

use std::collections::BTreeMap;

use addr2line::Loader;

use super::samples::{Sample, Site};

/// What was looked up so far.
#[derive(Default)]
pub(super) struct Symbols {
    /// `None`: without debug information.
    objects: BTreeMap<String, Option<Object>>,
    known: BTreeMap<(String, u64, String), Vec<String>>,
}

/// A program or library with debug information.
struct Object {
    loader: Loader,
    /// Where parts of the file are: offset, length, address.
    parts: Vec<(u64, u64, u64)>,
}

impl Object {
    fn open(path: &str) -> Option<Self> {
        let loader = Loader::new(path).ok()?;
        let parts = parts(&std::fs::read(path).ok()?).unwrap_or_default();
        Some(Self { loader, parts })
    }

    /// perf tells offsets in the file, debug information addresses.
    fn address(&self, offset: u64) -> u64 {
        let within = |(begin, length, _): &&(u64, u64, u64)| {
            (*begin..begin.saturating_add(*length)).contains(&offset)
        };
        let part = self.parts.iter().find(within);
        part.map_or(offset, |(begin, _, address)| offset - begin + address)
    }
}

/// The loaded parts of an ELF file of 64 bits, least significant byte first (elf(5)): offset, length, address.
fn parts(file: &[u8]) -> Option<Vec<(u64, u64, u64)>> {
    const LOADED: u64 = 1;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let bytes = file.get(at..at.checked_add(bytes)?)?;
        let bytes = bytes.iter().rev();
        Some(bytes.fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (begin, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let mut parts = Vec::new();
    for index in 0..count {
        let at = usize::try_from(begin.checked_add(index * size)?).ok()?;
        if number(at, 4)? == LOADED {
            parts.push((number(at + 8, 8)?, number(at + 32, 8)?, number(at + 16, 8)?));
        }
    }
    Some(parts)
}

impl Symbols {
    /// Names of a sample's frames, outermost first, as `function (file:line)` where its line is known.
    pub(super) fn stack(&mut self, sample: &Sample<'_>) -> Vec<String> {
        let frames = sample.stack.iter().enumerate();
        let mut named: Vec<String> = frames
            // What is not innermost stands behind a call: the line is that of the call.
            .flat_map(|(at, site)| self.names(site, u64::from(at > 0)))
            .collect();
        named.reverse();
        named
    }

    /// Innermost first; none when nothing is known of it.
    fn names(&mut self, site: &Site<'_>, back: u64) -> Vec<String> {
        let address = site.address.saturating_sub(back);
        let key = (site.object.to_owned(), address, site.name.to_owned());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let object = self.objects.entry(site.object.to_owned());
        let loader = object.or_insert_with(|| Object::open(site.object));
        let mut names = loader
            .as_ref()
            .map_or_else(Vec::new, |it| lines(it, address));
        if site.name != "[unknown]" {
            match names.last_mut() {
                None => names.push(plain(site.name).to_owned()),
                // The table of symbols has the whole path of a name; debug information may have its end only.
                Some(last) => {
                    let place = last.rfind(" (").map_or("", |at| &last[at..]);
                    *last = format!("{}{place}", plain(site.name));
                }
            }
        }
        self.known.insert(key, names.clone());
        names
    }
}

fn lines(object: &Object, offset: u64) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(mut frames) = object.loader.find_frames(object.address(offset)) else {
        return names;
    };
    while let Ok(Some(frame)) = frames.next() {
        // Without inlined calls in it a function may have lines only: the table of symbols has its name.
        let name = frame.function.map_or_else(String::new, |name| {
            let name = name.demangle();
            name.map_or_else(|_| String::new(), |it| plain(&it).to_owned())
        });
        let place = frame.location.and_then(|it| Some((it.file?, it.line?)));
        if let Some((file, line)) = place {
            names.push(format!("{name} ({file}:{line})"));
        }
    }
    names
}

/// Without the hash at the end of a name of Rust, and what an optimizer adds.
pub(super) fn plain(name: &str) -> &str {
    let name = name.split(".llvm.").next().unwrap_or(name);
    match name.rsplit_once("::h") {
        Some((rest, hash)) if hash.len() == 16 && hash.bytes().all(|it| it.is_ascii_hexdigit()) => {
            rest
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_this_program_are_told_as_lines() {
        let path = std::env::current_exe().expect("a program");
        let object = Object::open(&path.to_string_lossy()).expect("debug information");
        let here = offsets_of_this_program_are_told_as_lines as *const () as u64;
        // From memory to the file: as the kernel says where it is.
        let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
        let offset = maps.lines().find_map(|line| {
            let hex = |text: &str| u64::from_str_radix(text, 16).ok();
            let words: Vec<&str> = line.split_whitespace().collect();
            let (begin, end) = words[0].split_once('-')?;
            let (begin, end) = (hex(begin)?, hex(end)?);
            let inside = (begin..end).contains(&here);
            inside.then_some(here.wrapping_sub(begin) + hex(words[2])?)
        });
        let names = lines(&object, offset.expect("it is mapped"));
        let last = names.last().expect("a name");
        assert!(last.contains("symbols.rs:"), "{names:?}");
    }

    #[test]
    fn hashes_are_no_part_of_a_name() {
        assert_eq!(plain("a::b::h49c26125e53f0f6f"), "a::b");
        assert_eq!(plain("a::b::h49c26125e53f0f6f.llvm.54280"), "a::b");
        assert_eq!(plain("a::hello"), "a::hello");
    }
}
