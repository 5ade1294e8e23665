//! System calls, as `strace -f -yy -ttt -T` writes them: which take the time, which fail, and what they are about.
//!
//! ```text
//! seconds 3.0 port 8080
//! 4711  17.500000 openat(AT_FDCWD</srv>, "data/a", O_RDONLY) = 5</srv/data/a> <0.000021>
//! 4711  17.600000 fsync(7</srv/wal.log>) = 0 <0.004812>
//! 4712  17.600100 connect(8<TCP:[1234]>, {sa_family=AF_INET, sin_port=htons(5432), sin_addr=inet_addr("10.0.0.5")}, 16) = -1 ECONNREFUSED (...) <0.000044>
//! 4711  17.700000 read(9<TCP:[10.0.0.4:4000->10.0.0.5:5432]>,  <unfinished ...>
//! 4711  17.751002 <... read resumed>"ok", 64) = 2 <0.051002>
//! ```

use std::collections::BTreeMap;

use cohort_model::HelperTold;

use super::{Error, Profile};

/// Shorter spans say nothing about a rate, seconds.
const SPAN_MIN_S: f64 = 0.5;
/// Less time in system calls than this is not worth a word, seconds a second.
const BUSY_MIN: f64 = 0.02;
/// Of that time, what one of them has to take to be told, 0 to 1.
const SHARE_MIN: f64 = 0.2;
/// Failures a second that are told.
const FAILURES_MIN: f64 = 2.0;
/// Files opened a second, of one directory, that are told.
const OPENS_MIN: f64 = 20.0;
/// Of each sort so many are told.
const TOLD_MAX: usize = 2;
/// Shares have to differ so much from those of an instance that is well, 0 to 1.
const DIFFERENCE_MIN: f64 = 0.15;

/// Calls that wait for what others do next: their time is nobody's cost.
const IDLE: [&str; 26] = [
    "accept",
    "accept4",
    "clock_nanosleep",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "exit",
    "exit_group",
    "futex",
    "futex_wait",
    "futex_waitv",
    "io_getevents",
    "io_uring_enter",
    "nanosleep",
    "pause",
    "poll",
    "ppoll",
    "pselect6",
    "restart_syscall",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "select",
    "semtimedop",
    "sigsuspend",
    "wait4",
    "waitid",
];
/// Failures that are part of how programs wait.
const USUAL: [&str; 4] = ["EAGAIN", "EINPROGRESS", "EINTR", "EALREADY"];
/// Calls that open a file by its name.
const OPENS: [&str; 4] = ["open", "openat", "openat2", "creat"];

/// What calls of one kind about one thing came to.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sum {
    calls: u64,
    seconds: f64,
    failed: BTreeMap<String, u64>,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
struct Trace {
    /// How long it was looked, seconds.
    span_s: f64,
    /// By call, and file, peer or the like.
    by: BTreeMap<(String, String), Sum>,
    /// Files that were opened, by directory.
    opened: BTreeMap<String, u64>,
}

/// What they tell, and as stacks of what they are about, in microseconds.
pub(super) fn read(output: &str) -> Result<(Profile, Vec<HelperTold>), Error> {
    let trace = Trace::of(output)?;
    let mut profile = Profile::default();
    for ((call, about), sum) in &trace.by {
        let micros = (sum.seconds * 1e6).round() as u64;
        profile.add(vec![about.clone(), call.clone()], micros.max(sum.calls));
    }
    let mut told = trace.slow();
    told.extend(trace.failing());
    told.extend(trace.opening());
    Ok((profile, told))
}

/// What takes a larger share of the time here than on an instance that is well.
pub(super) fn compared((here, there): (&Profile, &Profile), other: &str) -> Option<HelperTold> {
    let (mine, theirs) = (here.samples(), there.samples());
    if mine == 0 || theirs == 0 {
        return None;
    }
    let of_theirs: BTreeMap<&[String], u64> = there.stacks().collect();
    let share = |count: u64, of: u64| count as f64 / of as f64;
    let rises = here.stacks().map(|(stack, count)| {
        let before = share(of_theirs.get(stack).copied().unwrap_or(0), theirs);
        (share(count, mine) - before, before, stack, count)
    });
    let (rise, before, stack, count) = rises.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let [about, call] = stack else {
        return None;
    };
    let sentence = format!(
        "{} takes {:.0} % of the time in system calls here, {:.0} % on {other}.",
        named(call, about),
        100.0 * share(count, mine),
        100.0 * before
    );
    (rise >= DIFFERENCE_MIN).then(|| tell(sentence, call, about))
}

fn named(call: &str, about: &str) -> String {
    match about {
        "" => format!("`{call}`"),
        about => format!("`{call}` of {about}"),
    }
}

fn tell(sentence: String, call: &str, about: &str) -> HelperTold {
    HelperTold {
        sentence,
        function: Some(call.to_owned()),
        place: (!about.is_empty()).then(|| about.to_owned()),
        ..HelperTold::default()
    }
}

impl Trace {
    fn of(output: &str) -> Result<Self, Error> {
        let (head, rest) = output.split_once('\n').unwrap_or((output, ""));
        let words: Vec<&str> = head.split_whitespace().collect();
        let read = match words.as_slice() {
            ["seconds", seconds, "port", port] => seconds.parse::<f64>().ok().zip(Some(*port)),
            _ => None,
        };
        let Some((window_s, port)) = read else {
            return Err(Error::Line {
                line: 1,
                found: head.chars().take(80).collect(),
                expected: "how long it was looked, and the server's port, as `seconds 3.0 port 8080`",
            });
        };
        let mut trace = Self::default();
        // Who calls the server is its own business.
        let own = format!(":{port}->");
        let mut begun: BTreeMap<&str, (f64, String)> = BTreeMap::new();
        let (mut first, mut last) = (f64::INFINITY, 0.0_f64);
        for line in rest.lines() {
            let mut words = line.splitn(2, ' ').map(str::trim_start);
            let (Some(thread), Some(text)) = (words.next(), words.next()) else {
                continue;
            };
            let at = text.split_once(' ');
            let Some((at_s, text)) = at.and_then(|(at, text)| Some((at.parse().ok()?, text)))
            else {
                continue;
            };
            (first, last) = (first.min(at_s), last.max(at_s));
            let start = ["<unfinished ...>", "<detached ...>"];
            let start = start.iter().find_map(|end| text.strip_suffix(end));
            if let Some(start) = start {
                begun.insert(thread, (at_s, start.to_owned()));
            } else if let Some(resumed) = text.strip_prefix("<... ") {
                let end = resumed.split_once("resumed>").map(|(_, end)| end);
                if let (Some((_, mut whole)), Some(end)) = (begun.remove(thread), end) {
                    whole.push_str(end);
                    trace.add(&whole, &own);
                }
            } else {
                trace.add(text, &own);
            }
        }
        trace.span_s = window_s.max(last - first).max(SPAN_MIN_S);
        // What is still under way takes at least until it was looked no more.
        let end_s = first + trace.span_s;
        for (at_s, start) in begun.into_values() {
            let seconds = end_s - at_s;
            trace.add(&format!("{start}) = ? <{seconds:.6}>"), &own);
        }
        Ok(trace)
    }

    /// A whole call. What is no call, such as a signal, is left out.
    fn add(&mut self, text: &str, own: &str) -> Option<()> {
        let (call, rest) = text.split_once('(')?;
        let is_name = call
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || one == '_');
        let (rest, seconds) = rest.trim_end().strip_suffix('>')?.rsplit_once('<')?;
        let seconds: f64 = seconds.parse().ok()?;
        let (words, result) = rest.rsplit_once(" = ")?;
        let arguments = words.trim_end().strip_suffix(')').unwrap_or(words);
        if !is_name || IDLE.contains(&call) || arguments.contains(own) {
            return None;
        }
        let error = result
            .strip_prefix("-1 ")
            .and_then(|it| it.split(' ').next());
        let about = about(call, arguments);
        if error.is_none() && OPENS.contains(&call) {
            *self.opened.entry(directory(&about)).or_default() += 1;
        }
        let sum = self.by.entry((call.to_owned(), about)).or_default();
        sum.calls += 1;
        sum.seconds += seconds;
        if let Some(error) = error.filter(|it| !USUAL.contains(it)) {
            *sum.failed.entry(error.to_owned()).or_default() += 1;
        }
        Some(())
    }

    fn slow(&self) -> Vec<HelperTold> {
        let all: f64 = self.by.values().map(|sum| sum.seconds).sum();
        if all < BUSY_MIN * self.span_s {
            return Vec::new();
        }
        let mut by: Vec<_> = self.by.iter().collect();
        by.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
        let slow = by.into_iter().take(TOLD_MAX);
        let slow = slow.filter(|(_, sum)| sum.seconds >= SHARE_MIN * all);
        let told = slow.map(|((call, about), sum)| {
            let sentence = format!(
                "{} takes {:.0} % of the time in system calls: {:.0} ms of each second, in {:.0} calls a second.",
                named(call, about),
                100.0 * sum.seconds / all,
                1000.0 * sum.seconds / self.span_s,
                sum.calls as f64 / self.span_s
            );
            tell(sentence, call, about)
        });
        told.collect()
    }

    fn failing(&self) -> Vec<HelperTold> {
        let by = self.by.iter();
        let mut all: Vec<_> = by
            .flat_map(|(key, sum)| {
                sum.failed
                    .iter()
                    .map(move |(error, count)| (key, error, *count))
            })
            .filter(|(_, _, count)| *count as f64 >= FAILURES_MIN * self.span_s)
            .filter(|((call, _), error, _)| !(call == "ioctl" && *error == "ENOTTY"))
            .collect();
        all.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        let told = all.into_iter().take(TOLD_MAX);
        let told = told.map(|((call, about), error, count)| {
            let sentence = format!(
                "{} fails with {error}, {:.0} times a second.",
                named(call, about),
                count as f64 / self.span_s
            );
            tell(sentence, call, about)
        });
        told.collect()
    }

    fn opening(&self) -> Vec<HelperTold> {
        let mut all: Vec<_> = self.opened.iter().collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let told = all.into_iter().take(TOLD_MAX);
        let told = told.filter(|(_, count)| **count as f64 >= OPENS_MIN * self.span_s);
        let told = told.map(|(directory, count)| {
            let a_second = *count as f64 / self.span_s;
            let sentence = format!("It opens files in {directory} {a_second:.0} times a second.");
            tell(sentence, "open", directory)
        });
        told.collect()
    }
}

/// What a call is about: a file, a peer, a program.
fn about(call: &str, arguments: &str) -> String {
    if call == "connect" || call == "bind" {
        return peer(arguments).unwrap_or_default();
    }
    let first = arguments.split_once(", ").map_or(arguments, |(it, _)| it);
    let at = annotated(first);
    let name = quoted(arguments).filter(|_| by_name(call));
    match (at, name) {
        (_, Some(path)) if path.starts_with('/') => path,
        (Some(directory), Some(path)) => format!("{directory}/{path}"),
        (None, Some(path)) => path,
        (Some(file), None) => thing(&file),
        (None, None) => String::new(),
    }
}

/// Whether a call says what it is about by a name.
fn by_name(call: &str) -> bool {
    const NAMES: [&str; 13] = [
        "access", "creat", "execve", "link", "mkdir", "open", "readlink", "rename", "rmdir",
        "stat", "statx", "symlink", "unlink",
    ];
    let bare = call.trim_start_matches("new").trim_start_matches('f');
    let bare = bare.trim_end_matches(|one: char| one.is_ascii_digit());
    let bare = bare.trim_end_matches("at");
    NAMES.contains(&bare) || bare == "st" || bare == "lst" || call == "lstat"
}

/// `5</srv/data>`: what is between the brackets.
fn annotated(argument: &str) -> Option<String> {
    let (_, rest) = argument.split_once('<')?;
    Some(rest.rsplit_once('>')?.0.to_owned())
}

/// `TCP:[10.0.0.4:4000->10.0.0.5:5432]`: the peer; others by their kind.
fn thing(file: &str) -> String {
    if let Some((_, peer)) = file.split_once("->") {
        return match file.split_once(':') {
            Some(("UNIX" | "UNIX-STREAM" | "UNIX-DGRAM", _)) => "a local socket".to_owned(),
            _ => peer.trim_end_matches(']').to_owned(),
        };
    }
    match file.split_once(":[") {
        Some((kind, _)) if !file.starts_with('/') => match kind {
            "pipe" => "a pipe".to_owned(),
            "anon_inode" => String::new(),
            _ => "a socket".to_owned(),
        },
        _ => file.trim_end_matches("(deleted)").trim_end().to_owned(),
    }
}

/// The first text in quotation marks.
fn quoted(arguments: &str) -> Option<String> {
    let (_, rest) = arguments.split_once('"')?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// Whom an address names.
fn peer(arguments: &str) -> Option<String> {
    let after = |text: &str| Some(arguments.split_once(text)?.1.to_owned());
    if let Some(path) = after("sun_path=").as_deref().and_then(quoted) {
        return Some(path);
    }
    let port = after("_port=htons(")?;
    let port = port.split_once(')')?.0;
    let host = quoted(arguments)?;
    Some(match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    })
}

fn directory(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
        None => ".".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(output: &str) -> Vec<String> {
        let (_, told) = read(output).expect("calls");
        told.into_iter().map(|it| it.sentence).collect()
    }

    #[test]
    fn what_takes_the_time_and_what_fails_is_told_with_what_it_is_about() {
        let refused = "8 12.0 connect(8<TCP:[1234]>, {sa_family=AF_INET, sin_port=htons(5432), sin_addr=inet_addr(\"10.0.0.5\")}, 16) = -1 ECONNREFUSED (Connection refused) <0.000044>\n";
        let output = format!(
            "seconds 2.0 port 8080\n\
             7 10.0 fsync(7</srv/wal.log>) = 0 <0.300000>\n\
             7 10.5 fsync(7</srv/wal.log>) = 0 <0.200000>\n\
             7 11.0 read(5<TCP:[127.0.0.1:8080->127.0.0.1:5555]>, \"GET\", 99) = 3 <9.000000>\n\
             7 11.5 futex(0x7f, FUTEX_WAIT_PRIVATE, 2, NULL) = 0 <9.000000>\n\
             9 11.4 read(9<TCP:[10.0.0.4:4000->10.0.0.5:5433]>,  <unfinished ...>\n\
             8 11.5 --- SIGCHLD {{si_signo=SIGCHLD}} ---\n\
             9 11.5 <... read resumed>\"a = b\", 64) = 5 <0.100000>\n\
             8 11.5 read(3<pipe:[77]>, 0x7ffc, 64) = -1 EAGAIN (Resource temporarily unavailable) <0.000010>\n{}",
            refused.repeat(10)
        );
        let wanted = [
            "`fsync` of /srv/wal.log takes 83 % of the time in system calls: 250 ms of each second, in 1 calls a second.",
            "`connect` of 10.0.0.5:5432 fails with ECONNREFUSED, 5 times a second.",
        ];
        assert_eq!(sentences(&output), wanted);
    }

    #[test]
    fn files_that_are_opened_often_are_told_by_their_directory() {
        let opens = (0..90).map(|number| {
            format!("7 {:.3} openat(AT_FDCWD</srv>, \"cache/{number}.json\", O_RDONLY) = 5</srv/cache/{number}.json> <0.000020>\n", 10.0 + f64::from(number) / 30.0)
        });
        let output = format!("seconds 3.0 port 8080\n{}", opens.collect::<String>());
        assert_eq!(
            sentences(&output),
            ["It opens files in /srv/cache 30 times a second."]
        );
        let calm = "seconds 3.0 port 8080\n7 10.0 write(1</dev/null>, \"x\", 1) = 1 <0.000010>\n";
        assert_eq!(sentences(calm), [""; 0]);
    }

    #[test]
    fn what_takes_more_than_on_an_instance_that_is_well_is_told() {
        let with = |seconds: f64| {
            let output = format!(
                "seconds 2.0 port 1\n7 10.0 fsync(7</srv/wal.log>) = 0 <{seconds:.6}>\n7 12.0 read(8</srv/a>, \"\", 1) = 0 <0.050000>\n"
            );
            read(&output).expect("calls").0
        };
        let told = compared((&with(0.45), &with(0.001)), "i1").expect("a difference");
        let wanted =
            "`fsync` of /srv/wal.log takes 90 % of the time in system calls here, 2 % on i1.";
        assert_eq!(told.sentence, wanted);
        assert_eq!(told.place.as_deref(), Some("/srv/wal.log"));
        assert_eq!(compared((&with(0.45), &with(0.45)), "i1"), None);
    }

    #[test]
    fn a_call_that_does_not_end_while_it_is_looked_takes_all_the_time_until_then() {
        let output = "seconds 2.0 port 1\n7 10.0 read(9<TCP:[10.0.0.4:4000->10.0.0.5:5433]>,  <unfinished ...>\n\
                      8 12.0 write(1</dev/null>, \"\"..., 1) = 1 <0.000010>\n";
        let wanted = "`read` of 10.0.0.5:5433 takes 100 % of the time in system calls: 1000 ms of each second, in 0 calls a second.";
        assert_eq!(sentences(output), [wanted]);
    }

    #[test]
    fn one_that_stands_in_a_call_all_the_time_is_told_and_names_are_those_of_files() {
        let output = "seconds 3.0 port 1\n7 10.0 recvfrom(9<TCP:[10.0.0.4:4000->10.0.0.5:5433]>,  <detached ...>\n";
        let wanted = "`recvfrom` of 10.0.0.5:5433 takes 100 % of the time in system calls: 1000 ms of each second, in 0 calls a second.";
        assert_eq!(sentences(output), [wanted]);
        let about = about("newfstatat", "AT_FDCWD</srv>, \"/etc/nope\", 0x7ff, 0");
        assert_eq!(about, "/etc/nope");
    }

    #[test]
    fn what_is_no_trace_is_named() {
        let error = read("strace: attach: Operation not permitted\n").expect_err("no trace");
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
