//! Lines with a level of error: as text (`ERROR`, `[error]`, `level=error`, `E1126 12:00`) and as JSON.

use serde_json::Value;

use super::Raised;

/// A level stands within this many bytes of a line, behind time, host and process.
const HEAD_BYTES_MAX: usize = 100;
/// Levels that count.
const LEVELS: [&str; 8] = [
    "error", "fatal", "critical", "panic", "emerg", "alert", "severe", "crit",
];
/// Where JSON loggers put what was said ...
const MESSAGE_KEYS: [&str; 5] = ["msg", "message", "event", "error", "err"];
/// ... and a trace.
const TRACE_KEYS: [&str; 9] = [
    "stack",
    "stack_trace",
    "stacktrace",
    "stackTrace",
    "exception",
    "exc_info",
    "error",
    "err",
    "backtrace",
];
/// `error` of pino and bunyan.
const NUMBER_MIN: u64 = 50;

/// How a level mostly begins; what follows is often `info`, `debug`, `trace` or `warn`.
const LEVEL_STARTS: [&str; 2] = ["\"level\":\"", "\"severity\":\""];
/// Lengths of levels, bytes.
const LEVEL_BYTES: std::ops::RangeInclusive<usize> = 4..=8;

/// What a line says.
#[derive(Debug)]
pub(super) enum Judged {
    Plain(Raised),
    /// A line of JSON that holds a whole trace.
    Trace(Raised, String),
}

pub(super) fn judge(line: &str) -> Option<Judged> {
    let trimmed = line.trim_start();
    if trimmed.starts_with('{') {
        return json(trimmed);
    }
    let (level, message) = text(line)?;
    Some(Judged::Plain(plain(level, message)))
}

fn plain(level: &str, message: &str) -> Raised {
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

fn json(line: &str) -> Option<Judged> {
    // Most lines are none of error: a look before the work.
    if LEVEL_STARTS.iter().any(|start| {
        let value = line.split_once(start).map(|(_, value)| value.as_bytes());
        value.is_some_and(|value| {
            matches!(
                value.first(),
                Some(b'i' | b'I' | b'd' | b'D' | b't' | b'T' | b'w' | b'W')
            )
        })
    }) {
        return None;
    }
    let worth = LEVELS
        .iter()
        .any(|level| contains_ignoring_case(line, level))
        || line.contains("\"level\":5")
        || line.contains("\"level\":6");
    if !worth {
        return None;
    }
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
        return None;
    };
    let level = [
        "level",
        "severity",
        "lvl",
        "log.level",
        "levelname",
        "@level",
    ]
    .iter()
    .find_map(|key| fields.get(*key))?;
    let level = match level {
        Value::String(level) => LEVELS
            .iter()
            .find(|known| level.eq_ignore_ascii_case(known))
            .copied()?,
        Value::Number(number) if number.as_u64()? >= NUMBER_MIN => "error",
        _ => return None,
    };
    let said = MESSAGE_KEYS
        .iter()
        .find_map(|key| as_text(fields.get(*key)?));
    let head = plain(level, &said.unwrap_or_default());
    let traces = TRACE_KEYS.iter().filter_map(|key| trace(fields.get(*key)?));
    Some(match traces.into_iter().find(|text| text.contains('\n')) {
        Some(text) => Judged::Trace(head, text),
        None => Judged::Plain(head),
    })
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => as_text(fields.get("message")?),
        _ => None,
    }
}

fn trace(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => as_text(fields.get("stack").or(fields.get("stacktrace"))?),
        _ => None,
    }
}

fn contains_ignoring_case(text: &str, word: &str) -> bool {
    text.as_bytes()
        .windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(line: &str) -> Option<(String, String)> {
        match judge(line)? {
            Judged::Plain(raised) | Judged::Trace(raised, _) => Some((raised.kind, raised.message)),
        }
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
