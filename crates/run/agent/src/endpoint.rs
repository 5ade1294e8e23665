//! The name of an endpoint: method and path, with what varies from call to call left out.

use cohort_scenario::Holes;

/// Shortest segment of mixed letters and digits that is taken for a token.
const TOKEN_CHARS_MIN: usize = 16;
/// Shortest segment of hexadecimal digits, with a decimal one among them, that is taken for an id.
const HEX_CHARS_MIN: usize = 8;
/// Longest name; what is longer is cut.
const NAME_BYTES_MAX: usize = 160;

/// `GET /items/{}`: numbers, UUIDs, hexadecimal ids and long tokens of the path become `{}`, and what has a digit where
/// the script puts something in.
fn by_path(holes: &Holes, method: &str, path_and_query: &str) -> String {
    let path = path_and_query.split(['?', '#']).next().unwrap_or("/");
    let mut name = String::with_capacity(method.len() + path.len() + 1);
    name.push_str(method);
    name.push(' ');
    if path.is_empty() {
        name.push('/');
    }
    let mut before = "";
    for (place, segment) in path.split('/').enumerate() {
        if place > 0 {
            name.push('/');
        }
        let beginning = match varies(segment) {
            true => Some(""),
            false => (holes.beginning(before, segment)).filter(|beginning| {
                segment[beginning.len()..].contains(|c: char| c.is_ascii_digit())
            }),
        };
        if let Some(beginning) = beginning {
            name.push_str(beginning);
            name.push_str("{}");
            before = "{}";
        } else {
            name.push_str(segment);
            before = segment;
        }
    }
    if name.len() > NAME_BYTES_MAX {
        let cut = (0..=NAME_BYTES_MAX)
            .rev()
            .find(|at| name.is_char_boundary(*at));
        name.truncate(cut.unwrap_or(0));
        name.push_str("...");
    }
    name
}

/// The endpoint of a request: as its script names it, else by its path. A name that is a URL, as those of
/// `` http.url`${BASE}/items/${id}` `` are, says no more than its path does.
pub(crate) fn of_request(
    holes: &Holes,
    method: &str,
    name: Option<&str>,
    path_and_query: &str,
) -> String {
    let Some(name) = name else {
        return by_path(holes, method, path_and_query);
    };
    if !name.contains("://") && !name.contains("${}") {
        return name.to_owned();
    }
    let rest = name.split_once("://").map_or(name, |(_, rest)| rest);
    let path = rest.find('/').map_or("/", |start| &rest[start..]);
    by_path(holes, method, &path.replace("${}", "{}"))
}

fn varies(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return false;
    }
    let number = bytes
        .iter()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b','));
    if number {
        return true;
    }
    let hex = bytes
        .iter()
        .all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    if hex && bytes.len() >= HEX_CHARS_MIN {
        return true;
    }
    let token = bytes.iter().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=' | b'~' | b'%' | b'.')
    });
    let mixed =
        bytes.iter().any(u8::is_ascii_uppercase) && bytes.iter().any(u8::is_ascii_lowercase);
    token && bytes.len() >= TOKEN_CHARS_MIN && (mixed || digits * 8 >= bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_puts_in_varies() {
        let script = "http.get(`${base}/carts/${user}/step2`); http.get(base + '/files/part-' + n)";
        let holes = Holes::of(script);
        let of = |path| of_request(&holes, "GET", None, path);
        assert_eq!(of("/carts/u3/step2"), "GET /carts/{}/step2");
        assert_eq!(of("/carts/17"), "GET /carts/{}");
        assert_eq!(of("/carts/all"), "GET /carts/all");
        assert_eq!(of("/files/part-b7"), "GET /files/part-{}");
        assert_eq!(of("/other/u3"), "GET /other/u3");
    }

    #[test]
    fn a_name_that_is_a_url_is_its_path() {
        let none = Holes::default();
        let of = |name| of_request(&none, "GET", Some(name), "/items/17.json");
        assert_eq!(of("${}/items/${}.json"), "GET /items/{}.json");
        assert_eq!(of("http://sut.test/items/${}?page=${}"), "GET /items/{}");
        assert_eq!(of("http://sut.test"), "GET /");
        assert_eq!(of("one item"), "one item");
        assert_eq!(of_request(&none, "GET", None, "/items/17"), "GET /items/{}");
    }

    #[test]
    fn what_varies_is_left_out() {
        let endpoint = |method: &str, path: &str| of_request(&Holes::default(), method, None, path);
        for (path, name) in [
            ("", "GET /"),
            ("/", "GET /"),
            ("/items", "GET /items"),
            ("/items/17", "GET /items/{}"),
            ("/items/17/", "GET /items/{}/"),
            (
                "/v1/users/3fa85f64-5717-4562-b3fc-2c963f66afa6",
                "GET /v1/users/{}",
            ),
            ("/blob/9f86d081884c7d65", "GET /blob/{}"),
            ("/s/eyJhbGciOiJIUzI1NiJ9", "GET /s/{}"),
            ("/orders/2026-11-26", "GET /orders/{}"),
            ("/css/bootstrap-5.min.css", "GET /css/bootstrap-5.min.css"),
            (
                "/checkout/confirmation-page",
                "GET /checkout/confirmation-page",
            ),
            ("/search?q=17", "GET /search"),
        ] {
            assert_eq!(endpoint("GET", path), name, "{path}");
        }
        assert!(endpoint("GET", &format!("/{}", "ä".repeat(400))).len() < 170);
    }
}
