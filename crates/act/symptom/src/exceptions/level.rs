//! Lines of text with a level of error: `ERROR`, `[error]`, `level=error`, `E1126 12:00`.

use super::Raised;

/// A level stands within this many bytes of a line, behind time, host and process.
const HEAD_BYTES_MAX: usize = 100;
/// Levels that count.
pub(super) const LEVELS: [&str; 8] = [
    "error", "fatal", "critical", "panic", "emerg", "alert", "severe", "crit",
];
/// Lengths of levels, bytes.
const LEVEL_BYTES: std::ops::RangeInclusive<usize> = 4..=8;

/// What a line of text says.
pub(super) fn judge(line: &str) -> Option<Raised> {
    let (level, message) = text(line)?;
    Some(plain(level, message))
}

/// A line that has the level, and says `message`.
pub(super) fn plain(level: &str, message: &str) -> Raised {
    let message = message
        .trim_start_matches([':', ']', ' ', '-', '|', '\t', '"'])
        .trim();
    let message = &message[..super::boundary(message, super::MESSAGE_BYTES_MAX)];
    let class = if level.eq_ignore_ascii_case("error") {
        "error line".to_owned()
    } else {
        format!("{} line", level.to_ascii_lowercase())
    };
    Raised {
        kind: class,
        message: message.to_owned(),
        frames: Vec::new(),
        plain_line: true,
        thread: String::new(),
    }
}

fn text(line: &str) -> Option<(&str, &str)> {
    if let Some(found) = glog(line) {
        return Some(found);
    }
    let head = &line[..super::boundary(line, HEAD_BYTES_MAX)];
    let is_letter = |letter: char| letter.is_ascii_alphabetic();
    let mut at = 0;
    while let Some(begin) = head[at..].find(is_letter).map(|found| at + found) {
        let end = head[begin..]
            .find(|it| !is_letter(it))
            .map_or(head.len(), |found| begin + found);
        let word = &head[begin..end];
        let is_level = LEVEL_BYTES.contains(&word.len())
            && LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
        if is_level && stands_as_level(line, begin, end) {
            return Some((word, &line[end..]));
        }
        at = end;
    }
    None
}

/// In capitals (all but "Error", which begins many a sentence), in brackets, behind `level=`, or as the
/// first word before a colon.
fn stands_as_level(line: &str, begin: usize, end: usize) -> bool {
    let (before, word, after) = (&line[..begin], &line[begin..end], &line[end..]);
    let ends_word = !after
        .starts_with(|it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '.' | '/' | '='));
    let begins_word =
        !before.ends_with(|it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '.' | '/'));
    if !ends_word || !begins_word {
        return false;
    }
    let is_capital = word.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_in_brackets = before.ends_with('[') && after.starts_with(']');
    let before = before.trim_end_matches('"');
    let is_named = ["level=", "lvl=", "severity=", "level:", "level: "]
        .iter()
        .any(|name| before.ends_with(name));
    is_capital || is_in_brackets || is_named || (before.is_empty() && after.starts_with(':'))
}

/// `E1126 12:00:00.000000 ...` (glog, klog)
fn glog(line: &str) -> Option<(&str, &str)> {
    let level = match line.as_bytes().first()? {
        b'E' => "error",
        b'F' => "fatal",
        _ => return None,
    };
    let (date, rest) = line.get(1..)?.split_once(' ')?;
    let is_date = date.len() == 4 && date.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = rest.as_bytes().get(2) == Some(&b':');
    if !is_date || !is_time {
        return None;
    }
    let message = rest.split_once("] ").map_or(rest, |(_, message)| message);
    Some((level, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(line: &str) -> Option<(String, String)> {
        let judged = match line.starts_with('{') {
            true => super::super::json::judge(line),
            false => judge(line),
        };
        judged.map(|raised| (raised.kind, raised.message))
    }

    #[test]
    fn levels_are_seen_where_loggers_put_them() {
        for (line, kind, message) in [
            (
                "2026-11-26 12:00:00,123 ERROR [main] db: gone",
                "error line",
                "[main] db: gone",
            ),
            ("ERROR:root:no such user", "error line", "root:no such user"),
            (
                "[2026-11-26T12:00:00Z ERROR shop::cart] no stock",
                "error line",
                "shop::cart] no stock",
            ),
            (
                "2026/11/26 12:00:00 [error] 31#31: *1 open() failed",
                "error line",
                "31#31: *1 open() failed",
            ),
            (
                "time=12:00 level=error msg=\"no disk\"",
                "error line",
                "msg=\"no disk\"",
            ),
            (
                "E1126 12:00:00.000001 7 server.go:12] no quorum",
                "error line",
                "no quorum",
            ),
            ("error: cannot bind", "error line", "cannot bind"),
            ("12:00 FATAL out of tape", "fatal line", "out of tape"),
            (
                "{\"level\":\"error\",\"msg\":\"no disk\"}",
                "error line",
                "no disk",
            ),
            (
                "{\"level\":50,\"time\":1,\"err\":{\"message\":\"no disk\"}}",
                "error line",
                "no disk",
            ),
            (
                "{\"severity\":\"CRITICAL\",\"message\":\"no disk\"}",
                "critical line",
                "no disk",
            ),
        ] {
            let expected = (kind.to_owned(), message.to_owned());
            assert_eq!(judged(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn other_lines_are_let_be() {
        for line in [
            "127.0.0.1 - - \"GET /error HTTP/1.1\" 200 5",
            "12:00 INFO 0 errors, 3 warnings",
            "INFO Error pages are in /srv/error",
            "loading error.html",
            "retry-on-error=true",
            "{\"level\":\"info\",\"msg\":\"no error\"}",
            "{\"level\":30,\"msg\":\"error\"}",
            "{broken ERROR",
            "",
        ] {
            assert_eq!(judged(line), None, "{line}");
        }
    }
}
