//! Records that survive a crash.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// Writes records in the background, and says when they are safe.
pub struct Journal {
    records: Sender<(String, Sender<u64>)>,
}

impl Journal {
    /// In a new file.
    pub fn create(path: &Path) -> io::Result<Journal> {
        let mut file = File::create(path)?;
        let (records, incoming) = mpsc::channel::<(String, Sender<u64>)>();
        thread::spawn(move || -> io::Result<()> {
            let mut safe = 0;
            for (record, answer) in incoming {
                writeln!(file, "{record}")?;
                file.sync_data()?;
                safe += 1;
                // Whoever asked may have gone.
                let _ = answer.send(safe);
            }
            Ok(())
        });
        Ok(Journal { records })
    }

    /// Adds a record; its number comes once it is on the disk.
    pub fn add(&self, record: impl Into<String>) -> Receiver<u64> {
        let (answer, number) = mpsc::channel();
        // Without the writer there is no answer either.
        let _ = self.records.send((record.into(), answer));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn file(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("{name}-{}.journal", std::process::id()))
    }

    #[test]
    fn records_are_numbered() {
        let path = file("numbered");
        let journal = Journal::create(&path).expect("writable");
        assert_eq!(journal.add("a").recv(), Ok(1));
        assert_eq!(journal.add("b").recv(), Ok(2));
        std::fs::remove_file(path).expect("there");
    }

    #[test]
    fn a_record_is_safe_soon() {
        let path = file("safe");
        let journal = Journal::create(&path).expect("writable");
        for order in 0..4 {
            let number = journal.add(format!("order {order}"));
            let number = number.recv_timeout(Duration::from_millis(12));
            assert_eq!(number, Ok(order + 1));
        }
        std::fs::remove_file(path).expect("there");
    }
}
