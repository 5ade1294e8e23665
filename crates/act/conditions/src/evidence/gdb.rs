//! The stacks in an image, by gdb.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Frames of one stack.
const FRAMES_MAX: u32 = 64;
/// Bytes of its output.
const OUTPUT_MAX: u64 = 1 << 20;
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Why there are no stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// There is no gdb along `PATH`.
    NotInstalled,
    /// It said nothing, or took too long.
    Silent,
}

/// All stacks, the first thread's first.
pub(crate) fn stacks(program: &Path, image: &Path, until: Instant) -> Result<String, Lack> {
    let backtrace = format!("thread apply all -ascending -s -- bt {FRAMES_MAX}");
    let mut command = Command::new("gdb");
    command
        .args(["-nx", "-q", "-batch"])
        // A project's own scripts are not run.
        .args(["-iex", "set auto-load off"])
        .args(["-iex", "set print thread-events off"])
        .args(["-ex", "set width 0"])
        .args(["-ex", "set print elements 64", "-ex", &backtrace])
        .arg(program)
        .arg(image)
        // Or it asks servers for what is not here.
        .env_remove("DEBUGINFOD_URLS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut gdb = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied => Lack::NotInstalled,
        _ => Lack::Silent,
    })?;
    let output = gdb.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(output) = output {
            // What came until it broke off is what there is.
            let _ = output.take(OUTPUT_MAX).read_to_end(&mut bytes);
        }
        bytes
    });
    while let Ok(None) = gdb.try_wait() {
        if Instant::now() >= until {
            let _ = gdb.kill();
            break;
        }
        std::thread::sleep(LOOK);
    }
    let _ = gdb.wait();
    let bytes = reader.join().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // What it says of the image itself stands before.
    let start = text.find("\nThread 1 ").ok_or(Lack::Silent)?;
    let stacks = text.get(start..).unwrap_or_default();
    if !stacks.contains("#0 ") {
        return Err(Lack::Silent);
    }
    Ok(stacks.to_owned())
}
