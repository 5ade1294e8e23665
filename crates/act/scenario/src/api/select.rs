//! Paths into JSON as `Response.json("...")` takes them: those of GJSON (github.com/tidwall/gjson), without its modifiers.

use serde_json::Value;

/// What a path leads to; `None` when it leads nowhere.
pub(super) fn select(value: &Value, path: &str) -> Result<Option<Value>, String> {
    if path.is_empty() {
        return Ok(None);
    }
    if path.starts_with('@')
        || path.contains("|@")
        || path.contains(".@")
        || path.starts_with('{')
        || path.starts_with('[')
        || path.starts_with('!')
    {
        return Err(format!(
            "the path '{path}' uses a modifier or a multipath, which are not supported: select in JavaScript instead"
        ));
    }
    Ok(walk(value, &split(path)?))
}

#[derive(Debug, PartialEq)]
enum Part {
    Key(String),
    /// A key with `*` and `?`.
    Like(String),
    /// `#`: the number of elements, or what follows of each.
    Each,
    /// `#(key op value)`, and whether all that match are wanted.
    Query {
        query: Query,
        all: bool,
    },
}

#[derive(Debug, PartialEq)]
struct Query {
    path: String,
    op: String,
    value: Option<Value>,
}

fn split(path: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut chars) = (Vec::new(), path.chars().peekable());
    while chars.peek().is_some() {
        let (mut key, mut like, mut depth) = (String::new(), false, 0_usize);
        while let Some(c) = chars.next() {
            match c {
                '\\' if depth == 0 => key.extend(chars.next()),
                '.' | '|' if depth == 0 => break,
                '(' => {
                    depth += 1;
                    key.push(c);
                }
                ')' => {
                    depth = depth.saturating_sub(1);
                    key.push(c);
                }
                '*' | '?' if depth == 0 => {
                    like = true;
                    key.push(c);
                }
                other => key.push(other),
            }
        }
        parts.push(match key.strip_prefix("#(") {
            Some(inner) => query(path, inner)?,
            None if key == "#" => Part::Each,
            None if like => Part::Like(key),
            None => Part::Key(key),
        });
    }
    Ok(parts)
}

fn query(path: &str, inner: &str) -> Result<Part, String> {
    let (inner, all) = match inner.strip_suffix(")#") {
        Some(inner) => (inner, true),
        None => (
            inner
                .strip_suffix(')')
                .ok_or_else(|| format!("the path '{path}' lacks a ')'"))?,
            false,
        ),
    };
    let operators = ["==", "!=", "<=", ">=", "!%", "<", ">", "%", "="];
    let found = operators
        .iter()
        .filter_map(|op| inner.find(op).map(|at| (at, *op)))
        .min_by_key(|(at, op)| (*at, std::cmp::Reverse(op.len())));
    let query = match found {
        None => Query {
            path: inner.trim().into(),
            op: String::new(),
            value: None,
        },
        Some((at, op)) => {
            let written = inner[at + op.len()..].trim();
            Query {
                path: inner[..at].trim().into(),
                op: if op == "=" { "==".into() } else { op.into() },
                value: Some(serde_json::from_str(written).unwrap_or_else(|_| written.into())),
            }
        }
    };
    Ok(Part::Query { query, all })
}

fn walk(value: &Value, parts: &[Part]) -> Option<Value> {
    let Some((part, rest)) = parts.split_first() else {
        return Some(value.clone());
    };
    match (part, value) {
        (Part::Key(key), Value::Object(map)) => walk(map.get(key)?, rest),
        (Part::Key(key), Value::Array(list)) => walk(list.get(key.parse::<usize>().ok()?)?, rest),
        (Part::Like(pattern), Value::Object(map)) => {
            let (_, found) = map
                .iter()
                .find(|(key, _)| matches(pattern.as_bytes(), key.as_bytes()))?;
            walk(found, rest)
        }
        (Part::Each, Value::Array(list)) if rest.is_empty() => Some(list.len().into()),
        (Part::Each, Value::Array(list)) => Some(
            list.iter()
                .filter_map(|element| walk(element, rest))
                .collect(),
        ),
        (Part::Query { query, all: true }, Value::Array(list)) => {
            let found = list.iter().filter(|element| query.holds(element));
            Some(found.filter_map(|element| walk(element, rest)).collect())
        }
        (Part::Query { query, all: false }, Value::Array(list)) => {
            walk(list.iter().find(|element| query.holds(element))?, rest)
        }
        _ => None,
    }
}

impl Query {
    fn holds(&self, element: &Value) -> bool {
        let found = if self.path.is_empty() {
            Some(element.clone())
        } else {
            select(element, &self.path).ok().flatten()
        };
        let Some(found) = found else { return false };
        let Some(wanted) = &self.value else {
            return true;
        };
        let order = match (&found, wanted) {
            (Value::Number(left), Value::Number(right)) => {
                left.as_f64().partial_cmp(&right.as_f64())
            }
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
            _ => None,
        };
        let like = || match (&found, wanted) {
            (Value::String(text), Value::String(pattern)) => {
                matches(pattern.as_bytes(), text.as_bytes())
            }
            _ => false,
        };
        match self.op.as_str() {
            "==" => found == *wanted || order.is_some_and(std::cmp::Ordering::is_eq),
            "!=" => found != *wanted && !order.is_some_and(std::cmp::Ordering::is_eq),
            "<" => order.is_some_and(std::cmp::Ordering::is_lt),
            "<=" => order.is_some_and(std::cmp::Ordering::is_le),
            ">" => order.is_some_and(std::cmp::Ordering::is_gt),
            ">=" => order.is_some_and(std::cmp::Ordering::is_ge),
            "%" => like(),
            "!%" => !like(),
            _ => false,
        }
    }
}

/// `*` is any text, `?` any one character.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            matches(&pattern[1..], text) || !text.is_empty() && matches(pattern, &text[1..])
        }
        (Some(b'?'), Some(_)) => matches(&pattern[1..], &text[1..]),
        (Some(left), Some(right)) if left == right => matches(&pattern[1..], &text[1..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_gjson_leads() {
        let json = serde_json::json!({
            "name": {"first": "Tom", "last": "Anderson"}, "age": 37, "children": ["Sara", "Alex", "Jack"], "fav.movie": "Deer Hunter",
            "friends": [
                {"first": "Dale", "last": "Murphy", "age": 44}, {"first": "Roger", "last": "Craig", "age": 68},
                {"first": "Jane", "last": "Murphy", "age": 47}
            ]
        });
        for (path, expected) in [
            ("name.last", r#""Anderson""#),
            ("age", "37"),
            ("children.#", "3"),
            ("children.1", r#""Alex""#),
            ("child*.2", r#""Jack""#),
            ("c?ildren.0", r#""Sara""#),
            (r"fav\.movie", r#""Deer Hunter""#),
            ("friends.#.first", r#"["Dale","Roger","Jane"]"#),
            (r#"friends.#(last=="Murphy").first"#, r#""Dale""#),
            (r#"friends.#(last=="Murphy")#.first"#, r#"["Dale","Jane"]"#),
            ("friends.#(age>45)#.last", r#"["Craig","Murphy"]"#),
            (r#"friends.#(first%"D*").last"#, r#""Murphy""#),
            (r#"children.#(!="Sara")"#, r#""Alex""#),
        ] {
            assert_eq!(
                select(&json, path)
                    .unwrap()
                    .map(|found| found.to_string())
                    .as_deref(),
                Some(expected),
                "{path}"
            );
        }
        for path in ["nothing", "age.x", "children.7", "friends.#(age>99)"] {
            assert_eq!(select(&json, path), Ok(None), "{path}");
        }
        assert!(select(&json, "children|@reverse").is_err());
    }
}
