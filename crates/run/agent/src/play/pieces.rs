//! Pieces of a request that can be left out: fields of its query and of its body.

use serde_json::Value;

/// Pieces of one request that are told apart.
const PIECES_MAX: usize = 40;

/// The pieces of a request: `?page` of the query, `/items/0/id` of a JSON body (a pointer, RFC 6901), `&name` of a form.
pub(super) fn of(url: &str, body: &[u8]) -> Vec<String> {
    let mut pieces = Vec::new();
    if let Some((_, query)) = url.split_once('?') {
        let names = query
            .split('&')
            .map(|pair| pair.split('=').next().unwrap_or(pair));
        pieces.extend(
            names
                .filter(|name| !name.is_empty())
                .map(|name| format!("?{name}")),
        );
    }
    if let Ok(json) = serde_json::from_slice::<Value>(body) {
        within(&json, "", &mut pieces);
    } else if is_form(body) {
        let text = String::from_utf8_lossy(body);
        let names = text
            .split('&')
            .map(|pair| pair.split('=').next().unwrap_or(pair));
        pieces.extend(names.map(|name| format!("&{name}")));
    }
    pieces.truncate(PIECES_MAX);
    pieces
}

fn is_form(body: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"=&%+-_.*~".contains(byte);
    !body.is_empty() && body.contains(&b'=') && body.iter().all(allowed)
}

fn within(value: &Value, place: &str, pieces: &mut Vec<String>) {
    if pieces.len() >= PIECES_MAX {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                let place = format!("{place}/{name}");
                pieces.push(place.clone());
                within(value, &place, pieces);
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                let place = format!("{place}/{at}");
                pieces.push(place.clone());
                within(value, &place, pieces);
            }
        }
        _ => {}
    }
}

/// An address without some pieces of its query.
#[must_use]
pub fn url_without(url: &str, without: &[&str]) -> String {
    let Some((path, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let name = pair.split('=').next().unwrap_or(pair);
            !without
                .iter()
                .any(|piece| piece.strip_prefix('?') == Some(name))
        })
        .collect();
    match kept.as_slice() {
        [] => path.to_owned(),
        kept => format!("{path}?{}", kept.join("&")),
    }
}

/// A body without some of its pieces. Items of a list are numbered as they were before any was left out.
#[must_use]
pub fn body_without(body: &[u8], without: &[&str]) -> Vec<u8> {
    if let Ok(mut json) = serde_json::from_slice::<Value>(body) {
        let mut places: Vec<&str> = without
            .iter()
            .copied()
            .filter(|one| one.starts_with('/'))
            .collect();
        // The last item of a list first: the others keep their numbers.
        places.sort_unstable_by_key(|place| std::cmp::Reverse(in_order(place)));
        for place in places {
            remove(&mut json, place);
        }
        return json.to_string().into_bytes();
    }
    let text = String::from_utf8_lossy(body);
    let kept = text.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or(pair);
        !without
            .iter()
            .any(|piece| piece.strip_prefix('&') == Some(name))
    });
    kept.collect::<Vec<_>>().join("&").into_bytes()
}

/// A pointer as something that sorts lists by number.
fn in_order(place: &str) -> Vec<(usize, String)> {
    let steps = place.split('/').skip(1);
    steps
        .map(|step| (step.parse().unwrap_or(usize::MAX), step.to_owned()))
        .collect()
}

fn remove(json: &mut Value, place: &str) {
    let Some((parent, name)) = place.rsplit_once('/') else {
        return;
    };
    match json.pointer_mut(parent) {
        Some(Value::Object(fields)) => {
            fields.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(items)) => {
            if let Ok(at) = name.parse::<usize>()
                && at < items.len()
            {
                items.remove(at);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_query_and_body_can_be_left_out() {
        let body = br#"{"items": [{"id": 1}, {"id": 2}, 3], "a/b": null}"#;
        let pieces = of("/x?page=2&all", body);
        let wanted = [
            "?page",
            "?all",
            "/a~1b",
            "/items",
            "/items/0",
            "/items/0/id",
            "/items/1",
            "/items/1/id",
            "/items/2",
        ];
        let mut sorted = pieces;
        sorted.sort();
        let mut expected = wanted.to_vec();
        expected.sort_unstable();
        assert_eq!(sorted, expected);
        assert_eq!(url_without("/x?page=2&all", &["?page"]), "/x?all");
        assert_eq!(url_without("/x?page=2&all", &["?page", "?all"]), "/x");
        let left = body_without(body, &["/items/0", "/items/2", "/a~1b"]);
        assert_eq!(String::from_utf8(left).unwrap(), r#"{"items":[{"id":2}]}"#);
        assert_eq!(of("/x", b"user=me&pass=1%202"), ["&user", "&pass"]);
        assert_eq!(body_without(b"user=me&pass=1", &["&user"]), b"pass=1");
        assert_eq!(of("/x", b"\xff\x00=not a form"), [""; 0]);
    }
}
