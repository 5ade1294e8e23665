//! Who changed what, and when.

use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// One change.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was changed.
    pub what: String,
    /// When it was, seconds since 1970.
    pub changed_s: u64,
    /// When it was written down, seconds since 1970.
    pub noted_s: u64,
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Changes `file`, and writes the change down in `log`.
pub fn change(file: &Path, text: &str, log: &Path) -> io::Result<Entry> {
    let changed_s = now_s();
    std::fs::write(file, text)?;
    let log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(log)?;
    let mut lines = io::BufWriter::new(log);
    for (at, line) in text.lines().enumerate() {
        writeln!(lines, "{} +{at}: {line}", file.display())?;
    }
    lines.flush()?;
    let what = file.display().to_string();
    Ok(Entry {
        what,
        changed_s,
        noted_s: now_s(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("audit-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("writable");
        folder
    }

    #[test]
    fn lines_are_logged() {
        let folder = folder("lines");
        let log = folder.join("log");
        change(&folder.join("a"), "x\ny\n", &log).expect("written");
        let log = std::fs::read_to_string(log).expect("there");
        assert_eq!(log.lines().count(), 2);
        std::fs::remove_dir_all(folder).expect("there");
    }

    #[test]
    fn a_change_is_noted_when_it_is_made() {
        let folder = folder("noted");
        let text = "a line of the settings\n".repeat(6000);
        let entry = change(&folder.join("settings"), &text, &folder.join("log")).expect("written");
        std::fs::remove_dir_all(&folder).expect("there");
        assert_eq!(entry.changed_s, entry.noted_s);
    }
}
