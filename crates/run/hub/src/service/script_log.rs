//! What scripts and programs print, in a file of the campaign.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use cohort_agent::protocol::{LogLevel, LogLine};

/// Its name, in the campaign's directory.
const NAME: &str = "script.log";
/// Most bytes that are kept.
const BYTES_MAX: u64 = 16 << 20;
/// Characters of the line that is shown to the user.
const SHOWN_MAX: usize = 120;

/// The file; made with the first line.
#[derive(Debug)]
pub(crate) struct ScriptLog {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    bytes: u64,
    lines: u64,
    /// Not kept: too many at once, too much in all, or the disk is full.
    lost: u64,
    first: String,
}

impl ScriptLog {
    pub(crate) fn new(campaign: &Path) -> Self {
        Self {
            path: campaign.join(NAME),
            file: None,
            bytes: 0,
            lines: 0,
            lost: 0,
            first: String::new(),
        }
    }

    /// Takes lines, and how many an agent could not tell.
    pub(crate) fn add(&mut self, lines: &[LogLine], lost: u64) {
        self.lines += lost;
        self.lost += lost;
        for line in lines {
            self.lines += 1;
            if self.first.is_empty() {
                let first = line.text.lines().next().unwrap_or_default();
                self.first = first.chars().take(SHOWN_MAX).collect();
            }
            if self.write(line).is_none() {
                self.lost += 1;
            }
        }
        if let Some(file) = &mut self.file {
            // What cannot be written now is tried again with the next lines.
            let _ = file.flush();
        }
    }

    fn write(&mut self, line: &LogLine) -> Option<()> {
        if self.bytes > BYTES_MAX {
            return None;
        }
        if self.file.is_none() {
            self.file = Some(BufWriter::new(File::create(&self.path).ok()?));
        }
        let level = match line.level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        };
        let who = line
            .thread
            .map_or_else(|| "-".to_owned(), |thread| thread.to_string());
        let text = format!("{:9.3} {level:5} {who} {}\n", line.at.seconds(), line.text);
        self.bytes += text.len() as u64;
        self.file.as_mut()?.write_all(text.as_bytes()).ok()
    }

    /// Where it is, for the user. `root`: of the project.
    pub(crate) fn note(&self, root: &Path) -> Option<String> {
        if self.lines == 0 {
            return None;
        }
        let path = self.path.strip_prefix(root).unwrap_or(&self.path);
        let lost = match self.lost {
            0 => String::new(),
            lost => format!(", without {lost} that were too many"),
        };
        let lines = match self.lines {
            1 => "1 line".to_owned(),
            lines => format!("{lines} lines"),
        };
        Some(format!(
            "the script printed {lines}, such as {:?}: {}{lost}",
            self.first,
            path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use cohort_model::{At, ThreadId};

    use super::*;

    #[test]
    fn lines_are_kept_and_it_is_said_where() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = ScriptLog::new(folder.path());
        assert_eq!(log.note(folder.path()), None);
        let line = LogLine {
            at: At(1_500_000),
            thread: Some(ThreadId(3)),
            level: LogLevel::Info,
            text: "hello".to_owned(),
        };
        log.add(&[line.clone(), line], 2);
        let text = std::fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("    1.500 info "), "{text}");
        assert!(text.lines().all(|line| line.ends_with(" hello")), "{text}");
        assert_eq!(
            log.note(folder.path()).unwrap(),
            "the script printed 4 lines, such as \"hello\": script.log, without 2 that were too many"
        );
    }
}
