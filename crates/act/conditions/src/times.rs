//! Several runs of one order, one after the other, until one fails.
//!
//! ```text
//!   run 0 --passed--> scratch emptied, seeds stepped --> run 1 --passed--> ... --failed, or enough--> the end
//! ```
//!
//! Promise: the file of progress never counts a run that has not passed, so whoever kills this process
//! knows how many did.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, refused};
use crate::order::{Order, Times};

/// The runs of one order.
#[derive(Debug)]
pub(crate) struct Runs<'a> {
    order: &'a Order,
    more: Option<(&'a Times, File)>,
    since: Instant,
    passed: u32,
}

impl<'a> Runs<'a> {
    /// None was made yet.
    ///
    /// # Errors
    /// When the file of progress cannot be written.
    pub(crate) fn of(order: &'a Order) -> Result<Self, Error> {
        let more = match &order.times {
            Some(times) => Some((times, open(&times.progress)?)),
            None => None,
        };
        Ok(Self {
            order,
            more,
            since: Instant::now(),
            passed: 0,
        })
    }

    /// What is run now.
    pub(crate) fn order(&self) -> Cow<'a, Order> {
        let Some((times, _)) = &self.more else {
            return Cow::Borrowed(self.order);
        };
        let mut order = self.order.clone();
        order.conditions = times.batch.conditions(&order.conditions, self.passed);
        Cow::Owned(order)
    }

    /// Whether there may be more than one.
    pub(crate) fn are_several(&self) -> bool {
        self.more.is_some()
    }

    /// A run passed: whether there is another one, for which all is made ready.
    ///
    /// # Errors
    /// When the file of progress cannot be written.
    pub(crate) fn another(&mut self) -> Result<bool, Error> {
        let Some((times, progress)) = &mut self.more else {
            return Ok(false);
        };
        let batch = &times.batch;
        let over = self.since.elapsed() >= Duration::from_micros(batch.us);
        if over || self.passed + 1 >= batch.runs {
            return Ok(false);
        }
        if times.scratch.as_deref().is_some_and(|path| !empty(path)) {
            return Ok(false);
        }
        self.passed += 1;
        tell(progress, self.passed)?;
        Ok(true)
    }
}

fn open(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(refused("open the file of progress"))?;
    tell(&file, 0)?;
    Ok(file)
}

fn tell(progress: &File, passed: u32) -> Result<(), Error> {
    let text = format!("{passed:>10}\n");
    progress
        .write_all_at(text.as_bytes(), 0)
        .map_err(refused("write the file of progress"))
}

/// Removes all that is in a directory; false when it is no longer the directory that it was.
fn empty(path: &Path) -> bool {
    let is_own = |path: &Path| {
        fs::symlink_metadata(path)
            .is_ok_and(|meta| meta.is_dir() && meta.permissions().mode() & 0o700 == 0o700)
    };
    is_own(path) && clear(path).is_ok()
}

fn clear(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
