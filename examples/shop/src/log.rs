//! Lines on standard error: seconds since the start, level, message.

use std::sync::OnceLock;
use std::time::Instant;

static START: OnceLock<Instant> = OnceLock::new();

pub(crate) fn info(message: &str) {
    line("INFO", message);
}

pub(crate) fn warn(message: &str) {
    line("WARN", message);
}

pub(crate) fn error(message: &str) {
    line("ERROR", message);
}

fn line(level: &str, message: &str) {
    let since_start_s = START.get_or_init(Instant::now).elapsed().as_secs_f64();
    eprintln!("[{since_start_s:9.3}] {level:<5} shop: {message}");
}
