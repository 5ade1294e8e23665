//! What `perf script` writes: samples, each with its stack.

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample<'a> {
    /// Thread, where it was asked for.
    pub(super) thread: i32,
    /// When, seconds of the host's clock; 0 where it was not asked for.
    pub(super) at_s: f64,
    /// What else its first line says: the event and its values, or the address that was touched.
    pub(super) said: &'a str,
    /// Innermost first; none of the kernel's.
    pub(super) stack: Vec<Site<'a>>,
    /// Functions of the kernel, innermost first.
    pub(super) kernel: Vec<&'a str>,
}

/// A frame of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Site<'a> {
    /// Where in the object.
    pub(super) address: u64,
    /// As perf knows it.
    pub(super) name: &'a str,
    /// Path of the program or library.
    pub(super) object: &'a str,
}

/// Reads them: a line for the sample, one for each frame, innermost first, and an empty one, which may be missing where there is
/// no stack. What is nothing of all this is left out.
pub(super) fn samples(output: &str) -> Vec<Sample<'_>> {
    let mut all: Vec<Sample<'_>> = Vec::new();
    for line in output.lines() {
        if line.starts_with(char::is_whitespace) {
            let Some(sample) = all.last_mut() else {
                continue;
            };
            match frame(line.trim()) {
                Some((site, false)) => sample.stack.push(site),
                Some((site, true)) => sample.kernel.push(site.name),
                None => {}
            }
        } else if !line.is_empty() {
            all.push(head(line));
        }
    }
    all
}

/// `tokio-rt-worker  9976 52101.140174:  syscalls:sys_exit_openat: 0x30`; a thread's name may have spaces in it.
fn head(line: &str) -> Sample<'_> {
    let mut sample = Sample {
        thread: 0,
        at_s: 0.0,
        said: "",
        stack: Vec::new(),
        kernel: Vec::new(),
    };
    let mut from = 0;
    let mut before = "";
    for word in line.split_whitespace() {
        let at = from + line[from..].find(word).unwrap_or(0);
        from = at + word.len();
        let seconds = word.strip_suffix(':').filter(|it| it.contains('.'));
        if let Some(at_s) = seconds.and_then(|it| it.parse().ok()) {
            sample.thread = before.parse().unwrap_or(0);
            sample.at_s = at_s;
            sample.said = line[from..].trim();
            return sample;
        }
        before = word;
    }
    sample
}

/// `310d40 shop::search::find (/app/shop)`; whether it is the kernel's.
fn frame(line: &str) -> Option<(Site<'_>, bool)> {
    let (address, rest) = line.split_once(' ')?;
    let (name, object) = rest.rsplit_once(" (")?;
    let object = object.strip_suffix(')')?;
    let kernel = object.starts_with("[kernel") || object.starts_with("[guest");
    let site = || Site {
        address: u64::from_str_radix(address, 16).unwrap_or(0),
        name: name.trim_end_matches(" (inlined)"),
        object,
    };
    (object != "[unknown]").then(|| (site(), kernel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_stacks() {
        let output = "a worker  9976 52101.140174:  syscalls:sys_exit_openat: 0x30\n\
                      \t           f8090 open (/lib/libc.so.6)\n\
                      \tffffffff81 do_it ([kernel.kallsyms])\n\
                      \t          31e505 shop::write (/app/shop)\n\n\
                      b 7 3.5: syscalls:sys_enter_close: fd: 0x30\n";
        let all = samples(output);
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].thread, all[0].at_s), (9976, 52101.140174));
        assert_eq!(all[0].said, "syscalls:sys_exit_openat: 0x30");
        let names: Vec<&str> = all[0].stack.iter().map(|it| it.name).collect();
        assert_eq!(names, ["open", "shop::write"]);
        assert_eq!(all[0].stack[1].address, 0x31_e505);
        assert_eq!(all[0].kernel, ["do_it"]);
        assert_eq!(
            (all[1].thread, all[1].said),
            (7, "syscalls:sys_enter_close: fd: 0x30")
        );
        assert_eq!(
            samples("\u{0}nonsense\n\n"),
            samples("x"),
            "nothing is in it"
        );
    }
}
