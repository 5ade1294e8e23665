//! The body of a request as a tree that can be minimized: members of objects and elements of lists; and back.

use std::collections::BTreeSet;

use serde_json::Value;

use super::tree::Branch;

/// What the value consists of, each piece by its JSON pointer (RFC 6901); the value itself is none of them. What
/// is in a piece goes when the piece goes.
#[must_use]
pub fn tree(value: &Value) -> Vec<Branch<String>> {
    branches(value, "")
}

fn branches(value: &Value, at: &str) -> Vec<Branch<String>> {
    let branch = |(step, inner): (String, &Value)| {
        let pointer = format!("{at}/{step}");
        let children = branches(inner, &pointer);
        Branch {
            own: vec![pointer],
            children,
        }
    };
    match value {
        Value::Object(members) => {
            let named = members.iter().map(|(name, inner)| (escaped(name), inner));
            named.map(branch).collect()
        }
        Value::Array(elements) => {
            let numbered = elements.iter().enumerate();
            let numbered = numbered.map(|(place, inner)| (place.to_string(), inner));
            numbered.map(branch).collect()
        }
        _ => Vec::new(),
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The value with only these pieces (JSON pointers) of those that `tree` names. An element of a list that is
/// left out leaves no gap.
#[must_use]
pub fn joined<'a>(value: &Value, pieces: impl IntoIterator<Item = &'a str>) -> Value {
    let kept: BTreeSet<&str> = pieces.into_iter().collect();
    reduced(value, "", &kept)
}

fn reduced(value: &Value, at: &str, kept: &BTreeSet<&str>) -> Value {
    let piece = |step: &str, inner: &Value| {
        let pointer = format!("{at}/{step}");
        kept.contains(pointer.as_str())
            .then(|| reduced(inner, &pointer, kept))
    };
    match value {
        Value::Object(members) => {
            let named = members.iter();
            let named = named
                .filter_map(|(name, inner)| Some((name.clone(), piece(&escaped(name), inner)?)));
            Value::Object(named.collect())
        }
        Value::Array(elements) => {
            let numbered = elements.iter().enumerate();
            Value::Array(
                numbered
                    .filter_map(|(place, inner)| piece(&place.to_string(), inner))
                    .collect(),
            )
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointers(branches: &[Branch<String>]) -> Vec<String> {
        let mut all = Vec::new();
        for branch in branches {
            all.extend(branch.own.iter().cloned());
            all.extend(pointers(&branch.children));
        }
        all
    }

    #[test]
    fn a_body_comes_apart_and_together() {
        let body = json!({"a/b": [1, {"c~": null}], "d": {"e": "f"}, "": 2});
        let all = pointers(&tree(&body));
        assert_eq!(all.len(), 7, "{all:?}");
        assert_eq!(joined(&body, all.iter().map(String::as_str)), body);
        assert_eq!(
            joined(&body, ["/a~1b", "/a~1b/1", "/a~1b/1/c~0"]),
            json!({"a/b": [{"c~": null}]})
        );
        assert_eq!(joined(&body, []), json!({}));
        assert_eq!(joined(&json!(7), []), json!(7));
    }
}
