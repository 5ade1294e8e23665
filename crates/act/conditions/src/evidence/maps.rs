//! What is where in the memory of a process (`proc_pid_maps(5)`).

use std::fs;

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) run: bool,
    pub(crate) private: bool,
    /// Where it begins in its file.
    pub(crate) offset: u64,
    /// File, `[stack]`, or empty.
    pub(crate) path: String,
}

impl Map {
    /// All of a process, by address.
    pub(crate) fn all(pid: i32) -> Vec<Map> {
        let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        text.lines().filter_map(Map::parse).collect()
    }

    fn parse(line: &str) -> Option<Map> {
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after;
            word
        };
        let (start, end) = word().split_once('-')?;
        let modes = word().as_bytes();
        let offset = word();
        let (_, _) = (word(), word());
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let has = |place: usize, mode: u8| modes.get(place) == Some(&mode);
        Some(Map {
            start: number(start)?,
            end: number(end)?,
            read: has(0, b'r'),
            write: has(1, b'w'),
            run: has(2, b'x'),
            private: has(3, b'p'),
            offset: number(offset)?,
            path: rest.trim_start().to_owned(),
        })
    }

    /// It is of a file that can be read again later.
    pub(crate) fn is_file(&self) -> bool {
        self.path.starts_with('/') && !self.path.ends_with(" (deleted)")
    }

    /// `object+offset` of an address in it.
    pub(crate) fn place(&self, address: u64) -> String {
        let object = match self.path.as_str() {
            "" => "memory without a file",
            path => path,
        };
        format!("{object}+0x{:x}", address - self.start + self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_code_is_found() {
        let here = its_own_code_is_found as fn() as usize as u64;
        let all = Map::all(i32::try_from(std::process::id()).expect("a pid"));
        let map = all.iter().find(|map| map.start <= here && here < map.end);
        let map = map.expect("it is somewhere");
        let program = std::env::current_exe().expect("a path");
        assert_eq!(map.path, program.display().to_string());
        assert!(map.read && map.run && map.private && !map.write && map.is_file());
        assert!(map.place(here).starts_with(&format!("{}+0x", map.path)));
    }

    #[test]
    fn a_path_with_blanks_is_whole() {
        let line = "7f00-7fff rw-s 00001000 08:01 12          /tmp/a b (deleted)";
        let map = Map::parse(line).expect("a mapping");
        assert_eq!(map.path, "/tmp/a b (deleted)");
        assert!(!map.private && !map.is_file() && map.offset == 0x1000);
        assert_eq!(Map::parse("nonsense"), None);
    }
}
