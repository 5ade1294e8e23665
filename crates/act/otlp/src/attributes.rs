//! Reading attributes, and turning names with numbers in them into few names.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

/// Attributes of one point that are looked at.
const ATTRIBUTES_MAX: usize = 16;
/// Words shorter than this are no ids, but when they are numbers.
const ID_LENGTH_MIN: usize = 16;

/// The text of the first of `keys` that is there.
pub(crate) fn text<'a>(attributes: &'a [KeyValue], keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| {
        let found = attributes.iter().find(|attribute| attribute.key == *key)?;
        match found.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        }
    })
}

/// The whole number under a key, be it sent as a number or as text.
pub(crate) fn number(attributes: &[KeyValue], key: &str) -> Option<u32> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::IntValue(number) => u32::try_from(*number).ok(),
        Value::StringValue(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A value as a person writes it; lists and tables are only named.
pub(crate) fn shown(value: &AnyValue) -> String {
    match &value.value {
        None => String::new(),
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::ArrayValue(list)) => format!("[{} values]", list.values.len()),
        Some(Value::KvlistValue(table)) => format!("{{{} values}}", table.values.len()),
        Some(_) => "(bytes)".to_owned(),
    }
}

/// `a=1,b=2`, sorted, of at most `length` bytes.
pub(crate) fn joined(attributes: &[KeyValue], length: usize) -> String {
    let some = &attributes[..attributes.len().min(ATTRIBUTES_MAX)];
    let mut pairs: Vec<String> = some
        .iter()
        .map(|attribute| {
            let value = attribute.value.as_ref().map(shown).unwrap_or_default();
            format!("{}={}", attribute.key, clip(&value, length))
        })
        .collect();
    pairs.sort_unstable();
    let mut all = pairs.join(",");
    all.truncate(clip(&all, length).len());
    all
}

/// The beginning of a text, `length` bytes at most, cut between two characters.
pub(crate) fn clip(text: &str, length: usize) -> &str {
    if text.len() <= length {
        return text;
    }
    let end = (0..=length).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// A name in which words that are numbers, UUIDs, long hex or route parameters are `{}`.
pub(crate) fn template(name: &str, length: usize) -> String {
    let mut template = String::new();
    for word in clip(name, length).split_inclusive([' ', '/']) {
        let bare = word.trim_end_matches([' ', '/']);
        if is_parameter(bare) || is_id(bare) {
            template.push_str("{}");
            template.push_str(&word[bare.len()..]);
        } else {
            template.push_str(word);
        }
    }
    template
}

/// `<int:id>` (Flask), `:id` (Express), `{id}` (Spring, axum), `*`.
fn is_parameter(word: &str) -> bool {
    let within = |open, close| word.len() > 2 && word.starts_with(open) && word.ends_with(close);
    within('<', '>') || within('{', '}') || (word.len() > 1 && word.starts_with(':'))
}

fn is_id(word: &str) -> bool {
    let bytes = word.as_bytes();
    let has_digit = bytes.iter().any(u8::is_ascii_digit);
    let number = bytes.iter().all(u8::is_ascii_digit);
    let hex = bytes
        .iter()
        .all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    has_digit && (number || (hex && bytes.len() >= ID_LENGTH_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_route_and_a_path_are_the_same_operation() {
        let same = [
            "GET /items/<int:id>/parts",
            "GET /items/:id/parts",
            "GET /items/{itemId}/parts",
            "GET /items/4711/parts",
            "GET /items/0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b/parts",
        ];
        for name in same {
            assert_eq!(template(name, 100), "GET /items/{}/parts", "{name}");
        }
        for name in ["SELECT items2", "GET /", "/feedface", "deadbeef", ":", ""] {
            assert_eq!(template(name, 100), name);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_clipped_between_characters(text in ".*", length in 0_usize..40) {
            let clipped = clip(&text, length);
            prop_assert!(clipped.len() <= length && text.starts_with(clipped));
            let _ = template(&text, length);
        }
    }
}
