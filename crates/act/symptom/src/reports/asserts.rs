//! Assertions that end a compiled program, as C libraries and others word them.
//!
//! ```text
//! cart: src/cart.c:12: total: Assertion `n > 0' failed.           glibc, libstdc++
//! Assertion failed: n > 0 (src/cart.c: total: 12)                 musl
//! Assertion failed: (n > 0), function total, file cart.c, line 12.  BSD, macOS
//! Assertion failed: n > 0, file cart.c, line 12                   Windows
//! ERROR:src/cart.c:12:total: assertion failed (a == b): (1 == 2)  GLib
//! F1126 12:00:00.000001 7 cart.cc:12] Check failed: n > 0         glog, Abseil
//! ```

use cohort_model::{Frame, SymptomKind};

use super::{Found, Rank, digits, is_own_native, is_source, leading_place};

pub(super) fn read(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let line = lines[at].trim();
    let (class, message, frame) = glibc(line)
        .or_else(|| musl(line))
        .or_else(|| bsd(line))
        .or_else(|| glib(line))
        .or_else(|| check(line))?;
    let kind = SymptomKind::Assertion;
    Some((
        Found::new(Rank::Check, kind, class, message, vec![frame]),
        1,
    ))
}

type Read<'l> = (&'static str, &'l str, Frame);

fn placed(function: &str, file: &str, line: u32) -> Frame {
    // `int total(const int*, int)` as libstdc++ tells it: the name alone.
    let function = function.split('(').next().unwrap_or(function);
    let function = function.rsplit([' ', '*', '&']).next().unwrap_or(function);
    Frame {
        function: function.to_owned(),
        file: file.to_owned(),
        line,
        own: is_own_native("", file),
    }
}

fn glibc(line: &str) -> Option<Read<'_>> {
    let begin = line.find("Assertion ")?;
    let rest = &line[begin + "Assertion ".len()..];
    let (condition, _) = rest.strip_prefix(['`', '\''])?.split_once("' failed")?;
    let head = line[..begin].trim_end_matches([' ', ':']);
    // The program's name, with blanks or colons or none, stands before.
    let from = head.match_indices(": ").map(|(at, _)| at + 2);
    let (frame, function) = std::iter::once(0)
        .chain(from)
        .find_map(|at| leading_place(&head[at..]))?;
    let frame = placed(function.trim(), &frame.file, frame.line);
    Some(("C assert", condition, frame))
}

fn musl(line: &str) -> Option<Read<'_>> {
    let (condition, place) = line.split_once("Assertion failed: ")?.1.rsplit_once(" (")?;
    let mut parts = place.strip_suffix(')')?.split(": ");
    let (file, function, number) = (parts.next()?, parts.next()?, parts.next()?);
    let frame = placed(function, file, number.parse().ok()?);
    Some(("C assert", condition, frame))
}

fn bsd(line: &str) -> Option<Read<'_>> {
    let said = line
        .split_once("Assertion failed: ")?
        .1
        .trim_end_matches('.');
    let (head, number) = said.rsplit_once(", line ")?;
    let (head, file) = head
        .rsplit_once(", file ")
        .or_else(|| head.rsplit_once("file "))?;
    let head = head.trim_end_matches([',', ' ']);
    let (condition, function) = head.rsplit_once(", function ").unwrap_or((head, ""));
    let frame = placed(function, file, number.parse().ok()?);
    Some(("C assert", condition, frame))
}

fn glib(line: &str) -> Option<Read<'_>> {
    let (frame, rest) = leading_place(line.strip_prefix("ERROR:")?)?;
    let (function, said) = rest.split_once(": ")?;
    let message = said
        .strip_prefix("assertion failed")
        .or_else(|| said.strip_prefix("code should not be reached"))?;
    let frame = placed(function, &frame.file, frame.line);
    Some(("GLib assert", message.trim_start_matches([' ', ':']), frame))
}

fn check(line: &str) -> Option<Read<'_>> {
    let (head, message) = line.split_once("] Check failed: ")?;
    let place = head.rsplit(' ').next()?;
    // `[1:7:1126/120000.0:FATAL:cart.cc(12)` or `cart.cc:12`
    let place = place.trim_end_matches(')');
    let (file, number) = place.rsplit_once(['(', ':'])?;
    let file = file.rsplit(':').next()?;
    let (number, "") = digits(number)? else {
        return None;
    };
    is_source(file).then(|| ("C++ CHECK", message, placed("", file, number)))
}
