//! Exceptions in log lines: Rust, Python, Java, Node, Go, PHP, Ruby, .NET, sanitizers, and lines with a
//! level of error, as text and as JSON.
//!
//! ```text
//! line --starts one of these--> block --its lines--> ... --ends, or nothing for half a second--> raised
//!   |---has a level of error-----------------------> held for a few lines: a trace may follow
//! ```
//!
//! Lines of other threads between those of a block are passed over, a few at most. Memory is bounded
//! whatever is written: a block has few frames, and only so many kinds are told apart.

mod dotnet;
mod fingerprint;
mod go;
mod java;
mod json;
mod known;
mod level;
mod node;
mod php;
pub(crate) mod python;
mod ruby;
mod rust;
pub(crate) mod sanitizer;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

pub use cohort_model::Frame;
pub use fingerprint::{fingerprint, normalized};
pub use known::{Known, Summary};

/// Lines before the first frame in which the head of a trace is looked for.
const BEFORE_MAX: usize = 30;
/// Lines of others within a block.
const FOREIGN_MAX: u32 = 8;
/// Lines between one with a level and the first that is known to be of a trace: the head of a Java one.
/// Blank and indented ones go on with what was said.
const HELD_LINES: u32 = 2;
/// Lines of a block: Python writes each call of an endless recursion before it says what was raised.
const LINES_MAX: u32 = 20_000;
/// Frames that are kept of one.
const FRAMES_MAX: usize = 64;
/// A block that gets no line for so long is complete.
const QUIET: Duration = Duration::from_millis(500);
/// Longest message that is kept, bytes.
const MESSAGE_BYTES_MAX: usize = 500;
/// What is looked at of a line, bytes.
const LINE_BYTES_MAX: usize = 4096;

/// An exception that was recognized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    /// Language or source, and class: `rust panic`, `python ValueError`.
    pub kind: String,
    /// What it says.
    pub message: String,
    /// Innermost first.
    pub frames: Vec<Frame>,
    /// A line with a level of error and no more: weaker evidence.
    pub plain_line: bool,
    /// Name of the thread that raised it; empty when not told.
    pub thread: String,
}

/// What a line is to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Take {
    /// Its own.
    Part,
    /// Its own, and its last.
    Last,
    /// Somebody else's; more of the block may follow.
    Foreign,
    /// Not its own, and nothing of it follows.
    Ended,
}

/// An exception whose lines are still coming.
trait Block: std::fmt::Debug + Send {
    fn take(&mut self, line: &str) -> Take;
    /// What was raised; of an empty kind when that was never said.
    fn raised(self: Box<Self>) -> Raised;
}

/// Looks at the lines of one stream, one after the other.
#[derive(Debug, Default)]
pub struct Parser {
    before: VecDeque<String>,
    open: Option<Open>,
    /// A line with a level, and how many lines came since.
    held: Option<(Raised, u32)>,
    last: Option<SystemTime>,
}

#[derive(Debug)]
struct Open {
    block: Box<dyn Block>,
    /// A line with a level that announced it, for the case that it turns out to say nothing.
    head: Option<Raised>,
    /// What stood before the first line of it: a time stamp, say.
    prefix: String,
    foreign: u32,
    lines: u32,
}

impl Parser {
    /// Takes the next line, without its end; gives what is complete now.
    pub fn take(&mut self, line: &str, at: SystemTime) -> Vec<Raised> {
        let whole = line.trim_start();
        let line = &line[..boundary(line, LINE_BYTES_MAX)];
        self.last = Some(at);
        let mut complete = Vec::new();
        if whole.starts_with('{') {
            // Whole in itself, whatever is under way around it.
            self.hold(whole, json::judge(whole), &mut complete);
        } else if !self.continues(line, &mut complete) {
            self.begin(line, &mut complete);
        }
        // The oldest gives its memory to the newest: this is done for every line there is.
        let mut kept = match self.before.len() {
            BEFORE_MAX => self.before.pop_front().unwrap_or_default(),
            _ => String::new(),
        };
        kept.clear();
        kept.push_str(line);
        self.before.push_back(kept);
        complete
    }

    /// Gives what is complete because nothing followed for a while.
    pub fn settle(&mut self, now: SystemTime) -> Vec<Raised> {
        let quiet = self
            .last
            .is_some_and(|last| now.duration_since(last).is_ok_and(|time| time >= QUIET));
        if quiet { self.finish() } else { Vec::new() }
    }

    /// Nothing follows.
    pub fn finish(&mut self) -> Vec<Raised> {
        self.last = None;
        self.before.clear();
        let mut complete: Vec<Raised> = self
            .held
            .take()
            .map(|(raised, _)| raised)
            .into_iter()
            .collect();
        complete.extend(self.open.take().and_then(Open::raised));
        complete
    }

    /// Whether an open block took the line.
    fn continues(&mut self, line: &str, complete: &mut Vec<Raised>) -> bool {
        let Some(open) = &mut self.open else {
            return false;
        };
        open.lines += 1;
        let taken = open.block.take(without_prefix(line, &open.prefix));
        let ended = match taken {
            Take::Part => {
                open.foreign = 0;
                open.lines > LINES_MAX
            }
            Take::Last | Take::Ended => true,
            Take::Foreign => {
                open.foreign += 1;
                open.foreign > FOREIGN_MAX
            }
        };
        if ended {
            complete.extend(self.open.take().and_then(Open::raised));
        }
        matches!(taken, Take::Part | Take::Last)
    }

    fn begin(&mut self, line: &str, complete: &mut Vec<Raised>) {
        let started = rust::start(line)
            .or_else(|| python::start(line))
            .or_else(|| go::start(line))
            .or_else(|| sanitizer::start(line))
            .or_else(|| php::start(line))
            .or_else(|| java::start(line, &self.before))
            .or_else(|| node::start(line, &self.before))
            .or_else(|| dotnet::start(line, &self.before))
            .or_else(|| ruby::start(line, &self.before));
        if let Some((at, block)) = started {
            complete.extend(self.open.take().and_then(Open::raised));
            self.open = Some(Open {
                block,
                // The line before said that this follows; it is one exception.
                head: self.held.take().map(|(raised, _)| raised),
                prefix: line[..at].to_owned(),
                foreign: 0,
                lines: 0,
            });
            return;
        }
        self.hold(line, level::judge(line), complete);
    }

    /// Takes what the level of a line says of it: what is no more than that is held for a trace.
    fn hold(&mut self, line: &str, judged: Option<Raised>, complete: &mut Vec<Raised>) {
        let goes_on = line.is_empty() || line.starts_with([' ', '\t']);
        if let Some((_, age)) = self.held.as_mut().filter(|_| !goes_on) {
            *age += 1;
        }
        let is_over = |held: &mut (Raised, u32)| judged.is_some() || held.1 > HELD_LINES;
        complete.extend(self.held.take_if(is_over).map(|(raised, _)| raised));
        match judged {
            // A level alone says nothing.
            Some(raised) if raised.message.is_empty() && raised.plain_line => {}
            Some(raised) if raised.plain_line => self.held = Some((raised, 0)),
            other => complete.extend(other),
        }
    }
}

impl Open {
    /// Threads that write at once can tear a trace to pieces of which none says what was raised: then
    /// the line that announced it is all there is, if any.
    fn raised(self) -> Option<Raised> {
        let raised = self.block.raised();
        let mut raised = if raised.kind.is_empty() {
            self.head?
        } else {
            raised
        };
        raised.frames.truncate(FRAMES_MAX);
        raised
            .message
            .truncate(boundary(&raised.message, MESSAGE_BYTES_MAX));
        Some(raised)
    }
}

/// The line behind what looks like `prefix`: digits where it has digits, and so on.
fn without_prefix<'l>(line: &'l str, prefix: &str) -> &'l str {
    let class = |byte: u8| match byte {
        b'0'..=b'9' => b'0',
        b'a'..=b'z' | b'A'..=b'Z' => b'a',
        other => other,
    };
    let alike = line.len() >= prefix.len()
        && line
            .bytes()
            .map(class)
            .zip(prefix.bytes().map(class))
            .all(|(one, other)| one == other);
    if alike && line.is_char_boundary(prefix.len()) {
        &line[prefix.len()..]
    } else {
        line
    }
}

/// The last place at or before `most` where the text may be cut.
pub(crate) fn boundary(text: &str, most: usize) -> usize {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// `file:line:column` or `file:line`.
pub(crate) fn location(text: &str) -> (String, u32) {
    let mut rest = text;
    let mut numbers = [0; 2];
    let mut found = 0;
    while found < 2
        && let Some((before, number)) = rest.rsplit_once(':')
        && let Ok(number) = number.parse::<u32>()
    {
        numbers[found] = number;
        found += 1;
        rest = before;
    }
    let line = if found == 2 { numbers[1] } else { numbers[0] };
    (rest.to_owned(), line)
}

/// Ends in `:line:column`.
pub(crate) fn has_line_and_column(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.rsplit_once(':').is_some_and(|(rest, column)| {
        number(column) && rest.rsplit_once(':').is_some_and(|(_, line)| number(line))
    })
}
