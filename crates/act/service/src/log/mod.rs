//! What servers write: kept in files, its last lines at hand, exceptions recognized.
//!
//! ```text
//! server --FIFO (1 MiB)--> log thread: lines, last lines, exceptions --16 MiB at most--> file thread
//!                             |  more than 32 MiB/s: dropped, counted       full: dropped, counted
//! ```
//!
//! Promise: a server waits for us only as it would for a busy terminal: the log thread never waits for
//! a disk, and what is too much is dropped, counted, and said in the file.

mod file;
mod lines;
mod pattern;
mod record;
mod stamp;
mod tail;

pub use record::{Counts, Line, Record, Source};

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use cohort_model::InstanceId;
use nix::fcntl::{FcntlArg, fcntl};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use crate::event::{Event, What};
use crate::lock;
use crate::spec::LogRules;
use file::Files;
use lines::Splitter;

/// What a FIFO holds, bytes; the kernel's usual limit for users.
const PIPE_BYTES: i32 = 1 << 20;
/// Read at once, bytes.
const READ_BYTES: usize = 64 << 10;
/// Between two looks at what was recognized, and at log files that grow.
const LOOK: Duration = Duration::from_millis(200);

/// The log thread and the file thread of a campaign.
#[derive(Debug)]
pub(crate) struct Logs {
    orders: Option<mpsc::UnboundedSender<Order>>,
    threads: Vec<JoinHandle<()>>,
}

enum Order {
    /// An instance is there.
    Watch(Arc<Record>, Vec<PathBuf>),
    /// Open these before its server is started; then tell, and tell again when all was read.
    Attach {
        record: Arc<Record>,
        paths: [PathBuf; 2],
        opened: oneshot::Sender<io::Result<Attached>>,
    },
    /// An instance is gone.
    Unwatch(InstanceId),
}

/// FIFOs that are read.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Fires once all was read that was ever written.
    pub(crate) all_read: oneshot::Receiver<()>,
    /// Writers, to be dropped once the server has its own: a FIFO without any is at its end.
    pub(crate) writers: Option<[File; 2]>,
}

impl Logs {
    /// Files are made in `folder`, which exists.
    pub(crate) fn start(
        folder: &Path,
        rules: &LogRules,
        events: mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        let (files, file_thread) = Files::start(folder, rules)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (orders, received) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || runtime.block_on(run(received, files, events)))?;
        Ok(Self {
            orders: Some(orders),
            threads: vec![thread, file_thread],
        })
    }

    /// From now on `files`, which the server writes itself, are followed, and exceptions reported.
    pub(crate) fn watch(&self, record: &Arc<Record>, files: Vec<PathBuf>) {
        self.order(Order::Watch(record.clone(), files));
    }

    /// No more.
    pub(crate) fn unwatch(&self, instance: InstanceId) {
        self.order(Order::Unwatch(instance));
    }

    /// Opens the FIFOs, so that a server can be started that writes to them.
    pub(crate) async fn attach(
        &self,
        record: &Arc<Record>,
        paths: [PathBuf; 2],
    ) -> io::Result<Attached> {
        let (opened, answer) = oneshot::channel();
        self.order(Order::Attach {
            record: record.clone(),
            paths,
            opened,
        });
        answer.await.map_err(io::Error::other).flatten()
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The thread ends only after this handle: there is always someone to take it.
            let _ = orders.send(order);
        }
    }

    /// Writes what is left, and ends. Blocks for as long as the disk takes.
    fn end(&mut self) {
        drop(self.orders.take());
        for thread in self.threads.drain(..) {
            // A panic in there was already printed; nothing depends on its end.
            let _ = thread.join();
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.end();
    }
}

type Watched = Arc<Mutex<Vec<Arc<Record>>>>;

async fn run(
    mut orders: mpsc::UnboundedReceiver<Order>,
    files: Files,
    events: mpsc::Sender<Event>,
) {
    let watched = Watched::default();
    let reporter = tokio::spawn(report(watched.clone(), events.clone()));
    while let Some(order) = orders.recv().await {
        match order {
            Order::Watch(record, paths) => {
                for path in paths {
                    tokio::spawn(tail::follow(path, Arc::downgrade(&record), files.clone()));
                }
                lock(&watched).push(record);
            }
            Order::Unwatch(instance) => {
                let last: Vec<_> = lock(&watched)
                    .extract_if(.., |record| record.instance() == instance)
                    .collect();
                for record in last {
                    send_exceptions(&record, &events);
                }
            }
            Order::Attach {
                record,
                paths,
                opened,
            } => {
                let _ = opened.send(attach(&record, &paths, &files));
            }
        }
    }
    reporter.abort();
}

fn attach(record: &Arc<Record>, paths: &[PathBuf; 2], files: &Files) -> io::Result<Attached> {
    let [stdout, stderr] = [open(&paths[0])?, open(&paths[1])?];
    let writer = |path| OpenOptions::new().write(true).open(path);
    let writers = [writer(&paths[0])?, writer(&paths[1])?];
    let (done, all_read) = oneshot::channel();
    let out = tokio::spawn(read(stdout, Source::Stdout, record.clone(), files.clone()));
    let err = tokio::spawn(read(stderr, Source::Stderr, record.clone(), files.clone()));
    tokio::spawn(async move {
        let _ = tokio::join!(out, err);
        let _ = done.send(());
    });
    Ok(Attached {
        all_read,
        writers: Some(writers),
    })
}

fn open(path: &Path) -> io::Result<pipe::Receiver> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    // Less is fine too, when the user's share of pipe memory is used up.
    let _ = fcntl(&file, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    pipe::Receiver::from_file(file)
}

async fn read(mut pipe: pipe::Receiver, source: Source, record: Arc<Record>, files: Files) {
    let mut splitter = Splitter::new(source);
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(bytes) = pipe.read(&mut buffer).await
        && bytes > 0
    {
        splitter.take(&buffer[..bytes], &record, &files);
        // Others are to be heard, however much this one writes.
        tokio::task::yield_now().await;
    }
    splitter.finish(&record, &files);
}

async fn report(watched: Watched, events: mpsc::Sender<Event>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let records = lock(&watched).clone();
        for record in records {
            record.settle();
            send_exceptions(&record, &events);
        }
    }
}

/// What finds no room stays in the record until the next look.
fn send_exceptions(record: &Record, events: &mpsc::Sender<Event>) {
    let Ok(permit) = events.try_reserve() else {
        return;
    };
    let exceptions = record.new_exceptions();
    if !exceptions.is_empty() {
        permit.send(Event {
            instance: record.instance(),
            what: What::Exceptions(exceptions),
        });
    }
}
