//! Ways in which a value of a JSON body is changed.
//!
//! What is put in its place is text, not a value: numbers beyond every type, lone surrogates and what is nested a thousand
//! times are no values of most libraries, which is why they are worth sending.

use serde_json::Value;

use crate::random::Random;
use crate::text::{NUMBERS, TextWay};

/// Stands for what is put in while the rest is written.
const MARK: &str = "\u{f8ff}cohort\u{f8ff}";
/// How deep is nested: beyond the limits of usual parsers (64, 100, 128, 512, 1,000) and of usual stacks.
const DEPTHS: [usize; 5] = [65, 129, 513, 1_100, 20_000];

/// A way to change a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum JsonWay {
    /// Another type.
    Type,
    /// A number at the end of a type.
    Extreme,
    /// Nested in lists or objects.
    Nest,
    /// Not there.
    Missing,
    /// Something more in an object or list.
    More,
    /// Items of a list: none, many, others.
    Items,
    /// Twice in the same object.
    Twice,
    /// Escapes that are no letter.
    Escape,
}

impl JsonWay {
    pub(crate) fn variety(self) -> usize {
        match self {
            JsonWay::Type | JsonWay::Extreme => 4,
            JsonWay::Missing | JsonWay::Twice => 1,
            JsonWay::Nest | JsonWay::More | JsonWay::Items | JsonWay::Escape => 2,
        }
    }
}

/// What can be done to a value, and what to its text if it is one.
pub(crate) fn ways(value: &Value, is_all: bool) -> (Vec<JsonWay>, Vec<TextWay>) {
    let mut ways = vec![JsonWay::Type, JsonWay::Nest];
    if !is_all {
        ways.extend([JsonWay::Missing, JsonWay::Twice]);
    }
    match value {
        Value::Number(_) => ways.push(JsonWay::Extreme),
        Value::Object(_) => ways.push(JsonWay::More),
        Value::Array(_) => ways.extend([JsonWay::Items, JsonWay::More]),
        Value::String(_) => {
            ways.push(JsonWay::Escape);
            return (ways, TextWay::ALL.to_vec());
        }
        Value::Null | Value::Bool(_) => {}
    }
    (ways, Vec::new())
}

/// What stands in the place of a value; none where that is a matter of what is around it.
pub(crate) fn text(value: &Value, way: JsonWay, random: &mut Random) -> Option<String> {
    let own = || value.to_string();
    Some(match way {
        JsonWay::Missing | JsonWay::Twice => return None,
        JsonWay::Type => other_type(value, random),
        JsonWay::Extreme => (*random.pick(&NUMBERS)).to_owned(),
        JsonWay::Nest => {
            let depth = *random.pick(&DEPTHS);
            let (open, close) = *random.pick(&[("[", "]"), ("{\"a\":", "}")]);
            let within = if depth < 100 { own() } else { "1".to_owned() };
            format!("{}{within}{}", open.repeat(depth), close.repeat(depth))
        }
        JsonWay::More => more(value, random),
        JsonWay::Items => items(value, random),
        JsonWay::Escape => {
            let escapes = ["\\ud800", "\\u0000", "\\udc00\\ud800", "\\uffff", "\\x41"];
            let text = own();
            let inner = text.get(1..text.len() - 1).unwrap_or_default();
            format!("\"{inner}{}\"", random.pick(&escapes))
        }
    })
}

/// The document with this text at a pointer.
pub(crate) fn with(document: &Value, pointer: &str, text: &str) -> Option<Vec<u8>> {
    let mut new = document.clone();
    *new.pointer_mut(pointer)? = Value::String(MARK.to_owned());
    let written = new.to_string();
    Some(
        written
            .replacen(&format!("\"{MARK}\""), text, 1)
            .into_bytes(),
    )
}

fn other_type(value: &Value, random: &mut Random) -> String {
    let own = value.to_string();
    let all = [
        "null", "true", "0", "-1.5", "\"\"", "\"text\"", "[]", "{}", "[null]", "\"0\"",
    ];
    let quoted = format!("\"{}\"", own.replace(['"', '\\'], ""));
    match random.below(6) {
        0 => format!("[{own}]"),
        1 if !value.is_string() => quoted,
        _ => (*random.pick(&all)).to_owned(),
    }
}

fn more(value: &Value, random: &mut Random) -> String {
    let own = value.to_string();
    let keys = [
        "__proto__",
        "constructor",
        "",
        "id",
        "\\u0000",
        "$where",
        "class",
        "é",
    ];
    match (value, random.once_in(5)) {
        (Value::Object(_), true) => {
            let many: Vec<String> = (0..3_000).map(|at| format!("\"k{at}\":{at}")).collect();
            format!("{{{}}}", many.join(","))
        }
        (Value::Object(fields), false) => {
            let comma = if fields.is_empty() { "" } else { "," };
            let key = random.pick(&keys);
            format!("{}{comma}\"{key}\":{{\"a\":[1]}}}}", &own[..own.len() - 1])
        }
        (Value::Array(items), _) => {
            let comma = if items.is_empty() { "" } else { "," };
            let item = random.pick(&["null", "{}", "[]", "\"x\"", "-1"]);
            format!("{}{comma}{item}]", &own[..own.len() - 1])
        }
        _ => own,
    }
}

fn items(value: &Value, random: &mut Random) -> String {
    let first = value.get(0).map_or("null".to_owned(), Value::to_string);
    match random.below(4) {
        0 => "[]".to_owned(),
        1 => format!("[{first},{first}]"),
        2 => "[null,null,null]".to_owned(),
        _ => {
            let count = (200_000 / first.len().max(1)).min(5_000);
            format!("[{}]", vec![first; count.max(1)].join(","))
        }
    }
}

/// The document without what is at a pointer.
pub(crate) fn without(document: &Value, pointer: &str) -> Option<Vec<u8>> {
    let (parent, name) = pointer.rsplit_once('/')?;
    let mut new = document.clone();
    match new.pointer_mut(parent)? {
        Value::Object(fields) => {
            fields.remove(&name.replace("~1", "/").replace("~0", "~"))?;
        }
        Value::Array(items) => {
            let at: usize = name.parse().ok()?;
            (at < items.len()).then(|| items.remove(at))?;
        }
        _ => return None,
    }
    Some(new.to_string().into_bytes())
}

/// What is around a value, with its key once more and another value.
pub(crate) fn twice(document: &Value, pointer: &str, random: &mut Random) -> Option<String> {
    let (parent, name) = pointer.rsplit_once('/')?;
    let fields = document.pointer(parent)?.as_object()?;
    let key = name.replace("~1", "/").replace("~0", "~");
    let key = Value::String(key).to_string();
    let own = Value::Object(fields.clone()).to_string();
    let value = random.pick(&["null", "0", "\"again\"", "[]"]);
    Some(format!("{},{key}:{value}}}", &own[..own.len() - 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_changes_the_value_and_leaves_the_rest() {
        let document: Value =
            serde_json::from_str(r#"{"a": {"n": 1, "s": "x", "l": [1, 2]}, "rest": true}"#)
                .unwrap();
        let mut random = Random::new(3);
        for pointer in ["/a", "/a/n", "/a/s", "/a/l", "/a/l/0"] {
            let value = document.pointer(pointer).unwrap();
            let (ways, _) = ways(value, false);
            for way in ways {
                let Some(text) = text(value, way, &mut random) else {
                    assert!(matches!(way, JsonWay::Missing | JsonWay::Twice));
                    continue;
                };
                let made = with(&document, pointer, &text).unwrap();
                let made = String::from_utf8(made).unwrap();
                assert!(
                    made.ends_with("\"rest\":true}"),
                    "{pointer} {way:?}: {made}"
                );
                assert!(!made.contains('\u{f8ff}'), "{pointer} {way:?}");
            }
        }
        let gone = without(&document, "/a/l/0").unwrap();
        assert!(String::from_utf8(gone).unwrap().contains("\"l\":[2]"));
        let again = twice(&document, "/a/n", &mut random).unwrap();
        assert_eq!(again.matches("\"n\":").count(), 2, "{again}");
    }
}
