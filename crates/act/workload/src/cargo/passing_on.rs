//! Passes cargo's own words on to the user's terminal, less the few that would be wrong here.
//!
//! While cargo is only being asked what it would run, it says `Running tests/api.rs` and `Doc-tests
//! name` as if it ran them. Those lines are left out; every other byte arrives as it came, in time:
//! only the beginning of a line is held back, and only while it may still be one of those.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::Cargo;
use super::settings::Settings;
use crate::environment::Variables;

/// How such a line begins, without colours.
const LEFT_OUT: [&str; 2] = ["     Running ", "   Doc-tests "];
/// Longest beginning that is looked at, colours included.
const HELD_BYTES_MAX: usize = 64;
/// How long the last words are waited for once cargo has ended; something it started may hold the
/// pipe open for ever (a connection kept by ssh).
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Options that make cargo speak into a pipe as it would to the terminal that stands behind it.
pub(super) fn options(cargo: &Cargo, settings: &Settings, env: &Variables) -> Vec<&'static str> {
    let is_set = |name: &str| env.contains_key(OsStr::new(name));
    let words = || cargo.arguments.cargo.iter().chain(&cargo.arguments.build);
    if !io::stderr().is_terminal()
        || env
            .get(OsStr::new("TERM"))
            .is_some_and(|term| term == "dumb")
    {
        return Vec::new();
    }
    let mut options = Vec::new();
    let has_color = words().any(|word| word.starts_with("--color"));
    if !has_color
        && !is_set("CARGO_TERM_COLOR")
        && !is_set("NO_COLOR")
        && !settings.has_term("color")
    {
        options.extend(["--color", "always"]);
    }
    if !is_set("CI") && !is_set("CARGO_TERM_PROGRESS_WHEN") && !settings.has_term("progress") {
        // The width is to be told where there is no terminal to ask.
        options.extend(["--config", "term.progress.when='always'"]);
        options.extend(["--config", "term.progress.width=80"]);
    }
    options
}

/// A thread that passes words on until they end.
pub(super) struct PassingOn {
    ended: Receiver<()>,
}

impl PassingOn {
    pub(super) fn start(source: impl Read + Send + 'static) -> Self {
        let (end, ended) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            // A terminal that went away is no reason to stop building.
            let _ = pass_on(source, io::stderr());
            let _ = end.send(());
        });
        PassingOn { ended }
    }

    /// Waits for the last words, but not for ever.
    pub(super) fn finish(self) {
        let _ = self.ended.recv_timeout(LAST_WORDS);
    }
}

fn pass_on(mut source: impl Read, mut target: impl Write) -> io::Result<()> {
    let mut filter = Filter::default();
    let mut bytes = [0; 4096];
    loop {
        let count = match source.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut passed = Vec::with_capacity(count);
        bytes[..count]
            .iter()
            .for_each(|byte| filter.take(*byte, &mut passed));
        target.write_all(&passed)?;
        target.flush()?;
    }
    target.write_all(&filter.held)
}

/// ```text
/// Beginning --cannot be one--> Passing --end of line--> Beginning
///     +------is one----------> Dropping --end of line-----^
/// ```
#[derive(Default)]
struct Filter {
    state: State,
    held: Vec<u8>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Beginning,
    Passing,
    Dropping,
}

impl Filter {
    fn take(&mut self, byte: u8, passed: &mut Vec<u8>) {
        match self.state {
            State::Passing => passed.push(byte),
            State::Dropping => {}
            State::Beginning => {
                self.held.push(byte);
                let text = without_colours(&self.held);
                if LEFT_OUT.iter().any(|start| text == start.as_bytes()) {
                    self.held.clear();
                    self.state = State::Dropping;
                } else if self.held.len() > HELD_BYTES_MAX
                    || !LEFT_OUT
                        .iter()
                        .any(|start| start.as_bytes().starts_with(&text))
                {
                    passed.append(&mut self.held);
                    self.state = State::Passing;
                }
            }
        }
        if matches!(byte, b'\n' | b'\r') {
            passed.append(&mut self.held);
            self.state = State::Beginning;
        }
    }
}

/// `bytes` without escape sequences (ECMA-48 CSI: `ESC [`, parameters, one letter); one that is not
/// complete yet is left out too.
fn without_colours(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = bytes.iter();
    while let Some(&byte) = bytes.next() {
        if byte == 0x1b {
            bytes.by_ref().find(|byte| byte.is_ascii_alphabetic());
        } else {
            text.push(byte);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(text: &str) -> String {
        let mut target = Vec::new();
        pass_on(text.as_bytes(), &mut target).unwrap();
        String::from_utf8(target).unwrap()
    }

    #[test]
    fn only_what_would_be_wrong_is_left_out() {
        let said = "   Compiling a v0.1.0\n\u{1b}[1m\u{1b}[92m     Running\u{1b}[0m unittests src/lib.rs (target/x)\n\
                    \r\u{1b}[K     Running tests/api.rs\n   Doc-tests a\nerror: Running\n     Runn";
        let kept = "   Compiling a v0.1.0\n\r\u{1b}[K";
        let rest = "error: Running\n     Runn";
        // What clears the progress bar stands before a line that is left out and may go with it.
        let expected = [
            format!("{kept}{rest}"),
            format!("   Compiling a v0.1.0\n\r{rest}"),
        ];
        assert!(expected.contains(&passed(said)), "{:?}", passed(said));
    }

    #[test]
    fn a_progress_bar_is_not_held_back() {
        let mut filter = Filter::default();
        let mut out = Vec::new();
        b"    Building [=>"
            .iter()
            .for_each(|byte| filter.take(*byte, &mut out));
        assert_eq!(out, b"    Building [=>");
    }

    proptest! {
        #[test]
        fn anything_else_arrives_whole(text in "([ RunigDoc\\-tests\u{1b}\\[mK\r\n]|.){0,80}") {
            let wrong = text.split(['\n', '\r']).any(|line| {
                let line = without_colours(line.as_bytes());
                LEFT_OUT.iter().any(|start| line.starts_with(start.as_bytes()))
            });
            if !wrong {
                prop_assert_eq!(passed(&text), text);
            }
        }
    }
}
