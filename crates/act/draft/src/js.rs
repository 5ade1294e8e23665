//! JavaScript as it is written into a script: nothing that stands in a file can leave its string.

use std::fmt::Write;

use serde_json::Value;

/// An object or list that is no longer than this, with what stands before it, stays on one line.
pub(crate) const LINE_MAX: usize = 96;
/// Integers above this (2^53) are no exact numbers in JavaScript.
const EXACT_MAX: u64 = 1 << 53;

/// A string: what stands there, and names of constants and variables between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Name(String),
}

impl Text {
    pub(crate) fn literal(text: &str) -> Self {
        let mut new = Self::default();
        new.push(text);
        new
    }

    pub(crate) fn name(name: &str) -> Self {
        let mut new = Self::default();
        new.push_name(name);
        new
    }

    pub(crate) fn push(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Literal(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Literal(text.to_owned())),
        }
    }

    pub(crate) fn push_name(&mut self, name: &str) {
        self.pieces.push(Piece::Name(name.to_owned()));
    }

    pub(crate) fn append(&mut self, other: Self) {
        for piece in other.pieces {
            match piece {
                Piece::Literal(text) => self.push(&text),
                Piece::Name(name) => self.pieces.push(Piece::Name(name)),
            }
        }
    }

    /// Whether any name is in it.
    pub(crate) fn has_names(&self) -> bool {
        let mut pieces = self.pieces.iter();
        pieces.any(|piece| matches!(piece, Piece::Name(_)))
    }

    /// What stands there, when there are no names in it.
    pub(crate) fn literal_text(&self) -> Option<String> {
        match self.pieces.as_slice() {
            [] => Some(String::new()),
            [Piece::Literal(text)] => Some(text.clone()),
            _ => None,
        }
    }

    /// As source: `'a'`, `name`, or `` `a${name}` ``.
    pub(crate) fn source(&self) -> String {
        match self.pieces.as_slice() {
            [] => "''".to_owned(),
            [Piece::Literal(text)] => quoted(text),
            [Piece::Name(name)] => name.clone(),
            pieces => {
                let mut source = "`".to_owned();
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) => escape(text, '`', &mut source),
                        Piece::Name(name) => {
                            source.push_str("${");
                            source.push_str(name);
                            source.push('}');
                        }
                    }
                }
                source.push('`');
                source
            }
        }
    }
}

/// A value in a script.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Js {
    /// `null`, a truth, a number: as it is written.
    Plain(String),
    Text(Text),
    List(Vec<Js>),
    Object(Vec<(String, Js)>),
}

impl Js {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(Text::literal(text))
    }

    /// From JSON, each text in it made by `text`.
    pub(crate) fn from_json(value: &Value, text: &mut dyn FnMut(&str) -> Text) -> Self {
        match value {
            Value::Null | Value::Bool(_) => Self::Plain(value.to_string()),
            Value::Number(number) => {
                let plain = number.to_string();
                let made = text(&plain);
                if made.has_names() {
                    Self::Text(made)
                } else {
                    Self::Plain(plain)
                }
            }
            Value::String(value) => Self::Text(text(value)),
            Value::Array(values) => {
                let values = values.iter().map(|value| Self::from_json(value, text));
                Self::List(values.collect())
            }
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(key, value)| (key.clone(), Self::from_json(value, text)));
                Self::Object(fields.collect())
            }
        }
    }

    /// As source, for a line that is indented by `indent` spaces.
    pub(crate) fn source(&self, indent: usize) -> String {
        let line = self.line();
        if line.len() + indent <= LINE_MAX {
            return line;
        }
        self.lines(indent)
    }

    /// As source of `JSON.stringify(...)` among the arguments of a call.
    pub(crate) fn stringified(&self, indent: usize) -> String {
        let line = self.line();
        if line.len() <= LINE_MAX / 2 {
            format!("JSON.stringify({line})")
        } else {
            format!("JSON.stringify({})", self.lines(indent))
        }
    }

    /// As source, a line for each field or value.
    pub(crate) fn lines(&self, indent: usize) -> String {
        let inner = " ".repeat(indent + 2);
        let outer = " ".repeat(indent);
        let mut source = String::new();
        match self {
            Self::Plain(_) | Self::Text(_) => return self.line(),
            Self::List(values) => {
                source.push_str("[\n");
                for value in values {
                    // Writing to a string cannot fail.
                    let _ = writeln!(source, "{inner}{},", value.source(indent + 2));
                }
                let _ = write!(source, "{outer}]");
            }
            Self::Object(fields) => {
                source.push_str("{\n");
                for (name, value) in fields {
                    let (name, value) = (key(name), value.source(indent + 2));
                    let _ = writeln!(source, "{inner}{name}: {value},");
                }
                let _ = write!(source, "{outer}}}");
            }
        }
        source
    }

    /// As source, on one line.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Plain(plain) => plain.clone(),
            Self::Text(text) => text.source(),
            Self::List(values) => {
                let values: Vec<String> = values.iter().map(Self::line).collect();
                format!("[{}]", values.join(", "))
            }
            Self::Object(fields) if fields.is_empty() => "{}".to_owned(),
            Self::Object(fields) => {
                let field =
                    |(name, value): &(String, Self)| format!("{}: {}", key(name), value.line());
                let fields: Vec<String> = fields.iter().map(field).collect();
                format!("{{ {} }}", fields.join(", "))
            }
        }
    }
}

/// Whether a number in it would not be the same number in JavaScript.
pub(crate) fn has_inexact_number(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            let size = number.as_u64().or(number.as_i64().map(i64::unsigned_abs));
            size.is_some_and(|size| size > EXACT_MAX)
        }
        Value::Array(values) => values.iter().any(has_inexact_number),
        Value::Object(fields) => fields.values().any(has_inexact_number),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// `'text'`.
pub(crate) fn quoted(text: &str) -> String {
    let mut source = "'".to_owned();
    escape(text, '\'', &mut source);
    source.push('\'');
    source
}

/// The text of a comment's line: whatever ends a line becomes a space.
pub(crate) fn comment(text: &str) -> String {
    let ends_line = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
    text.replace(ends_line, " ")
}

fn escape(text: &str, quote: char, source: &mut String) {
    for char in text.chars() {
        match char {
            '\\' => source.push_str("\\\\"),
            '\n' => source.push_str("\\n"),
            '\r' => source.push_str("\\r"),
            '\t' => source.push_str("\\t"),
            _ if char == quote || (char == '$' && quote == '`') => {
                source.push('\\');
                source.push(char);
            }
            '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                let _ = write!(source, "\\u{:04x}", u32::from(char));
            }
            _ if char.is_control() => {
                let _ = write!(source, "\\u{:04x}", u32::from(char));
            }
            _ => source.push(char),
        }
    }
}

fn key(name: &str) -> String {
    if name == "__proto__" {
        // As a plain key it would be no property.
        "['__proto__']".to_owned()
    } else if is_identifier(name) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    let first = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_string() {
        assert_eq!(quoted("it's \\ \n\u{2028}"), "'it\\'s \\\\ \\n\\u2028'");
        let mut text = Text::literal("`${a}");
        text.push_name("b");
        assert_eq!(text.source(), "`\\`\\${a}${b}`");
        assert_eq!(Text::name("b").source(), "b");
        assert_eq!(comment("a\nb\u{2029}c"), "a b c");
    }

    #[test]
    fn long_values_are_broken_into_lines() {
        let value =
            serde_json::json!({ "a-b": "x".repeat(90), "list": [1, null], "__proto__": {} });
        let js = Js::from_json(&value, &mut Text::literal);
        let expected = format!(
            "{{\n    ['__proto__']: {{}},\n    'a-b': '{}',\n    list: [1, null],\n  }}",
            "x".repeat(90)
        );
        assert_eq!(js.source(2), expected);
        assert!(has_inexact_number(
            &serde_json::json!([{ "id": 9_007_199_254_740_993_u64 }])
        ));
    }
}
