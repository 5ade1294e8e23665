//! Lines of JSON with a level of error, and the trace that many loggers put in one of their fields:
//! as text (`stack_trace`, `exc_info`, `error.stack`) or as an object (`{"type", "message", "stack"}`).

use serde_json::{Map, Value};

use super::level::{LEVELS, plain};
use super::{FRAMES_MAX, Frame, LINES_MAX, Parser, Raised, location};

type Fields = Map<String, Value>;

/// Where JSON loggers put what was said ...
const MESSAGE_KEYS: [&str; 9] = [
    "msg",
    "message",
    "@message",
    "@m",
    "event",
    "error",
    "err",
    "exception",
    "error.message",
];
/// ... a trace, alone or within an object of the exception ...
const TRACE_KEYS: [&str; 14] = [
    "stack",
    "stack_trace",
    "stacktrace",
    "stackTrace",
    "StackTrace",
    "exc_info",
    "exc_text",
    "traceback",
    "trace",
    "backtrace",
    "exception",
    "Exception",
    "@x",
    "error",
];
/// ... the exception as an object, or what the names of its fields begin with ...
const OBJECT_KEYS: [&str; 7] = [
    "error",
    "err",
    "exception",
    "Exception",
    "exc",
    "exc_info",
    "thrown",
];
/// ... and its class and what it says in there.
const CLASS_KEYS: [&str; 8] = [
    "type",
    "name",
    "kind",
    "class",
    "exc_type",
    "Type",
    "ClassName",
    "exception_class",
];
const SAID_KEYS: [&str; 6] = ["message", "msg", "exc_value", "Message", "value", "reason"];
const LEVEL_KEYS: [&str; 8] = [
    "level",
    "severity",
    "lvl",
    "log.level",
    "levelname",
    "level_name",
    "@level",
    "@l",
];
/// `error` of pino and bunyan.
const NUMBER_MIN: u64 = 50;
/// How a level mostly begins; what follows is often `info`, `debug`, `trace` or `warn`.
const LEVEL_STARTS: [&str; 4] = [
    "\"level\":\"",
    "\"severity\":\"",
    "\"level\": \"",
    "\"severity\": \"",
];

pub(super) fn judge(line: &str) -> Option<Raised> {
    if !is_worth_a_look(line) {
        return None;
    }
    let fields = parse(line)?;
    let level = LEVEL_KEYS.iter().find_map(|key| fields.get(*key))?;
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
        .filter_map(|key| as_text(fields.get(*key)?))
        .find(|text| !text.trim().is_empty());
    let head = plain(level, said.as_deref().unwrap_or_default());
    let mut texts = traces(&fields);
    texts.extend(said.filter(|text| text.contains('\n')));
    if let Some(known) = texts.iter().find_map(|text| inner(text)) {
        return Some(known);
    }
    let frames = texts.iter().map(|text| places(text));
    let frames = frames.into_iter().find(|frames| !frames.is_empty());
    let raised = named(&fields).unwrap_or(head);
    Some(match frames {
        Some(frames) if raised.frames.is_empty() => Raised { frames, ..raised },
        _ => raised,
    })
}

/// Most lines are none of error: a look before the work.
fn is_worth_a_look(line: &str) -> bool {
    let is_less = LEVEL_STARTS.iter().any(|start| {
        let value = line.split_once(start).map(|(_, value)| value.as_bytes());
        value.is_some_and(|value| {
            matches!(
                value.first(),
                Some(b'i' | b'I' | b'd' | b'D' | b't' | b'T' | b'w' | b'W')
            )
        })
    });
    let has_number = |number: &str| {
        line.split_once("\"level\":")
            .is_some_and(|(_, value)| value.trim_start().starts_with(number))
    };
    !is_less
        && (LEVELS
            .iter()
            .any(|level| contains_ignoring_case(line, level))
            || has_number("5")
            || has_number("6"))
}

/// The fields of a line, also of one that is cut off within a text.
fn parse(line: &str) -> Option<Fields> {
    let text = match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => return Some(fields),
        Err(error) if error.is_eof() => line,
        _ => return None,
    };
    // An escape may be cut, too: of at most six bytes.
    let escape = text.rfind('\\').filter(|at| text.len() - at < 6);
    let ends = [text.len(), escape.unwrap_or(text.len())];
    ends.iter()
        .flat_map(|end| ["\"}", "\"}}", "\"}}}"].map(|close| format!("{}{close}", &text[..*end])))
        .find_map(|text| serde_json::from_str(&text).ok())
}

/// Objects that tell of an exception.
fn objects(fields: &Fields) -> impl Iterator<Item = &Fields> {
    OBJECT_KEYS
        .iter()
        .filter_map(|key| match fields.get(*key)? {
            Value::Object(object) => Some(object),
            Value::Array(all) => all.first()?.as_object(),
            _ => None,
        })
}

fn traces(fields: &Fields) -> Vec<String> {
    let mut found = Vec::new();
    let mut take = |value: &Value| match value {
        Value::String(text) if text.contains('\n') => found.push(text.clone()),
        Value::Array(lines) => {
            let lines: Option<Vec<&str>> = lines.iter().map(Value::as_str).collect();
            found.extend(lines.map(|lines| lines.join("\n")));
        }
        _ => {}
    };
    for key in TRACE_KEYS {
        fields.get(key).into_iter().for_each(&mut take);
    }
    for object in objects(fields) {
        for key in TRACE_KEYS {
            object.get(key).into_iter().for_each(&mut take);
        }
    }
    for group in OBJECT_KEYS {
        for key in TRACE_KEYS {
            let value = fields.get(&format!("{group}.{key}"));
            value.into_iter().for_each(&mut take);
        }
    }
    found
}

/// An exception of which class and words stand in fields of their own.
fn named(fields: &Fields) -> Option<Raised> {
    let of_object = objects(fields).find_map(|object| {
        let class = CLASS_KEYS.iter().find_map(|key| object.get(*key)?.as_str());
        let said = SAID_KEYS.iter().find_map(|key| object.get(*key)?.as_str());
        Some((class?, said.unwrap_or_default(), frames(object)))
    });
    let (class, said, frames) = of_object.or_else(|| {
        OBJECT_KEYS.iter().find_map(|group| {
            let text = |key: &&str| fields.get(&format!("{group}.{key}"))?.as_str();
            let class = CLASS_KEYS.iter().find_map(text);
            let said = SAID_KEYS.iter().find_map(text);
            Some((class?, said.unwrap_or_default(), Vec::new()))
        })
    })?;
    let class = class.trim();
    (!class.is_empty()).then(|| Raised {
        kind: class.rsplit(['.', '\\']).next().unwrap_or(class).to_owned(),
        message: said.trim().to_owned(),
        frames,
        plain_line: false,
        thread: String::new(),
    })
}

/// Frames as objects, outermost first.
fn frames(object: &Fields) -> Vec<Frame> {
    let Some(Value::Array(all)) = object.get("frames") else {
        return Vec::new();
    };
    let text = |frame: &Value, keys: [&str; 2]| {
        let found = keys.iter().find_map(|key| frame.get(*key)?.as_str());
        found.unwrap_or_default().to_owned()
    };
    all.iter()
        .rev()
        .take(FRAMES_MAX)
        .map(|frame| {
            let file = text(frame, ["filename", "file"]);
            let number = ["lineno", "line"].iter().find_map(|key| frame.get(*key));
            Frame {
                function: text(frame, ["name", "function"]),
                own: !file.contains("-packages") && !file.contains("/lib/python"),
                file,
                line: number
                    .and_then(Value::as_u64)
                    .and_then(|number| number.try_into().ok())
                    .unwrap_or(0),
            }
        })
        .collect()
}

/// The exception of a whole trace.
fn inner(text: &str) -> Option<Raised> {
    let mut parser = Parser::default();
    let at = std::time::SystemTime::UNIX_EPOCH;
    let mut found: Vec<Raised> = text
        .lines()
        .take(LINES_MAX as usize)
        .flat_map(|line| parser.take(line, at))
        .collect();
    found.extend(parser.finish());
    found.into_iter().find(|raised| !raised.plain_line)
}

/// Places of a trace that has nothing else: a function, and its file on the next line (Go).
fn places(text: &str) -> Vec<Frame> {
    let lines: Vec<&str> = text.lines().take(LINES_MAX as usize).collect();
    let pairs = lines.windows(2).filter_map(|pair| {
        let place = pair[1].strip_prefix('\t')?;
        let (file, line) = location(place.split(' ').next()?);
        (line > 0 && !pair[0].starts_with('\t')).then(|| Frame {
            function: pair[0].to_owned(),
            own: !file.contains("/pkg/mod/") && !file.contains("/go/src/"),
            file,
            line,
        })
    });
    pairs.take(FRAMES_MAX).collect()
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => as_text(fields.get("message")?),
        _ => None,
    }
}

fn contains_ignoring_case(text: &str, word: &str) -> bool {
    text.as_bytes()
        .windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}
