//! The files that a campaign is reported in.
//!
//! Promise: what an earlier campaign wrote in them stays until there is something to put in its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cohort_hub::Face;
use cohort_model::Record;
use cohort_report::service::{self, ServiceView};
use cohort_report::{View, events, junit};
use cohort_store::Campaign;

use crate::failure::Failure;
use crate::{past, say};

/// A file that is known to be writable, with what stands in it.
struct Target {
    path: PathBuf,
    file: File,
    /// Whether it was made just now.
    new: bool,
}

impl Target {
    /// Opens it, and makes it and the directories it lies in when there are none.
    fn open(path: &Path, action: &'static str) -> Result<Self, Failure> {
        let new = !path.exists();
        let above = path.parent().unwrap_or(Path::new(""));
        let opened = match path.to_str() {
            // Opened anew, it would not know how far the stream is.
            Some("/dev/stdout") => io::stdout().as_fd().try_clone_to_owned().map(File::from),
            Some("/dev/stderr") => io::stderr().as_fd().try_clone_to_owned().map(File::from),
            _ => fs::create_dir_all(above)
                .and_then(|()| OpenOptions::new().create(true).append(true).open(path)),
        };
        opened
            .map(|file| Self {
                path: path.to_owned(),
                file,
                new,
            })
            .map_err(failed(action, path))
    }

    /// Whether it is a file of its own, rather than a device, a pipe, or what a stream was redirected
    /// to, where more than the report may stand.
    fn is_own(&self) -> bool {
        let is_stream = ["/dev/std", "/dev/fd/", "/proc/"]
            .iter()
            .any(|place| self.path.to_string_lossy().starts_with(place));
        !is_stream && self.file.metadata().is_ok_and(|kind| kind.is_file())
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::File {
        action,
        path,
        source,
    }
}

/// The JUnit report, which is written whole.
pub(crate) struct JunitFile(Target);

impl JunitFile {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let target = Target::open(path, "create the JUnit report")?;
        Ok(Self(target))
    }

    /// Of a suite.
    pub(crate) fn write(self, view: &View, campaign: &Campaign) -> Result<(), Failure> {
        self.put(|out| junit::write(view, &|thread| past::output(campaign, thread), out))
    }

    /// Of a service.
    pub(crate) fn write_service(self, view: &ServiceView) -> Result<(), Failure> {
        self.put(|out| service::junit(view, out))
    }

    fn put(
        mut self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), junit::Error>,
    ) -> Result<(), Failure> {
        let path = self.0.path.clone();
        let mut report = Vec::new();
        write(&mut report)
            .map_err(|error| Failure::Report(format!("{error} {}", path.display())))?;
        self.0.new = false;
        let written = if self.0.is_own() {
            replace(&path, &report)
        } else {
            self.0.file.write_all(&report)
        };
        written.map_err(failed("write the JUnit report", &path))
    }
}

impl Drop for JunitFile {
    /// A report that came to nothing leaves nothing.
    fn drop(&mut self) {
        if self.0.new
            && self.0.is_own()
            && let Ok(path) = self.0.path.canonicalize()
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Puts `content` in the place of what is in the file `path`, or leaves that as it is.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = path.canonicalize()?;
    let mut aside = path.clone().into_os_string();
    aside.push(format!(".{}", std::process::id()));
    let Ok(mut file) = File::create_new(&aside) else {
        // The directory takes no new file: what is there is written over.
        return fs::write(&path, content);
    };
    let written = file
        .write_all(content)
        .and_then(|()| fs::rename(&aside, &path));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

/// The file of events.
pub(crate) struct EventFile {
    out: BufWriter<File>,
    path: PathBuf,
    /// Whether what stands in the file is another campaign's.
    stale: bool,
    broken: bool,
}

impl EventFile {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let target = Target::open(path, "create the file of events")?;
        Ok(Self {
            stale: target.is_own(),
            out: BufWriter::new(target.file),
            path: target.path,
            broken: false,
        })
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        if std::mem::take(&mut self.stale) {
            self.out.get_ref().set_len(0)?;
        }
        events::write_line(record, &mut self.out)?;
        match record {
            Record::Ended(_) => self.out.flush(),
            _ => Ok(()),
        }
    }
}

impl Face for EventFile {
    fn see(&mut self, record: &Record) {
        if self.broken {
            return;
        }
        if let Err(error) = self.write(record) {
            self.broken = true;
            say::note(format_args!(
                "write events to {}: {error}; the campaign goes on without",
                self.path.display()
            ));
        }
    }

    fn tick(&mut self) {
        // What fails here fails again, and is reported, at the next record.
        let _ = self.out.flush();
    }
}
