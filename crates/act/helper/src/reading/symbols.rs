//! Names of frames with their lines, and those of functions that were compiled into others.

use std::collections::BTreeMap;

use addr2line::Loader;

use super::samples::{Sample, Site};

/// What was looked up so far.
#[derive(Default)]
pub(super) struct Symbols {
    /// `None`: without debug information.
    objects: BTreeMap<String, Option<Loader>>,
    known: BTreeMap<(String, u64, String), Vec<String>>,
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
        let loader = object.or_insert_with(|| Loader::new(site.object).ok());
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

fn lines(loader: &Loader, address: u64) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(mut frames) = loader.find_frames(address) else {
        return names;
    };
    while let Ok(Some(frame)) = frames.next() {
        let Some(name) = frame.function else {
            continue;
        };
        let name = name
            .demangle()
            .map_or_else(|_| String::new(), |it| plain(&it).to_owned());
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
    fn hashes_are_no_part_of_a_name() {
        assert_eq!(plain("a::b::h49c26125e53f0f6f"), "a::b");
        assert_eq!(plain("a::b::h49c26125e53f0f6f.llvm.54280"), "a::b");
        assert_eq!(plain("a::hello"), "a::hello");
    }
}
