//! Values of secrets in logs and elsewhere: `<DB_PASSWORD>` stands in their place.

use std::collections::BTreeMap;

use super::{Environment, values};

/// Shorter values are no secrets that could be told from other text.
const BYTES_MIN: usize = 5;
/// Of a value of several lines (a key), shorter lines are not looked for alone.
const LINE_BYTES_MIN: usize = 16;

/// Takes values of secrets out of texts.
#[derive(Clone, Debug, Default)]
pub struct Scrubber {
    /// What is looked for by its first two bytes, the longest first: bytes, and what stands there instead.
    needles: BTreeMap<[u8; 2], Vec<(Vec<u8>, String)>>,
}

impl Scrubber {
    /// For the secrets of an environment: their values, as they are and as JSON and addresses write them,
    /// lines of those that have several, and passwords within addresses.
    #[must_use]
    pub fn new(environment: &Environment) -> Self {
        let mut all: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        for (name, value) in environment.secrets() {
            let mut forms = vec![value.to_owned(), value.trim().to_owned()];
            forms.extend(
                value
                    .lines()
                    .filter(|line| line.len() >= LINE_BYTES_MIN)
                    .map(str::to_owned),
            );
            forms.extend(values::passwords(value).map(str::to_owned));
            forms.extend(value.strip_prefix("Bearer ").map(str::to_owned));
            forms.extend(value.strip_prefix("Basic ").map(str::to_owned));
            let written: Vec<String> = forms
                .iter()
                .flat_map(|form| [in_json(form), in_address(form)])
                .collect();
            forms.extend(written);
            for form in forms {
                if form.len() >= BYTES_MIN {
                    all.entry(form.into_bytes())
                        .or_insert_with(|| format!("<{name}>"));
                }
            }
        }
        let mut needles: BTreeMap<[u8; 2], Vec<(Vec<u8>, String)>> = BTreeMap::new();
        for (bytes, shown) in all {
            if let [one, other, ..] = bytes[..] {
                needles
                    .entry([one, other])
                    .or_default()
                    .push((bytes, shown));
            }
        }
        for same_start in needles.values_mut() {
            same_start.sort_by_key(|(bytes, _)| std::cmp::Reverse(bytes.len()));
        }
        Self { needles }
    }

    /// The text without them; none when there is none in it.
    #[must_use]
    pub fn scrub(&self, text: &[u8]) -> Option<Vec<u8>> {
        if self.needles.is_empty() {
            return None;
        }
        // Most bytes begin nothing: a table decides.
        let mut begins = [false; 256];
        for [first, _] in self.needles.keys() {
            begins[usize::from(*first)] = true;
        }
        let mut clean: Option<Vec<u8>> = None;
        let mut taken = 0;
        let mut at = 0;
        while at + 1 < text.len() {
            let found = begins[usize::from(text[at])]
                .then(|| self.needles.get(&[text[at], text[at + 1]]))
                .flatten()
                .and_then(|needles| {
                    needles
                        .iter()
                        .find(|(bytes, _)| text[at..].starts_with(bytes))
                });
            let Some((bytes, shown)) = found else {
                at += 1;
                continue;
            };
            let clean = clean.get_or_insert_with(|| Vec::with_capacity(text.len()));
            clean.extend_from_slice(&text[taken..at]);
            clean.extend_from_slice(shown.as_bytes());
            at += bytes.len();
            taken = at;
        }
        let mut clean = clean?;
        clean.extend_from_slice(&text[taken..]);
        Some(clean)
    }

    /// The same for every text within a value; names of fields stay.
    pub(crate) fn scrub_strings(&self, value: &mut serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::String(text) => {
                if let Some(clean) = self.scrub(text.as_bytes()) {
                    *text = String::from_utf8_lossy(&clean).into_owned();
                }
            }
            Value::Array(all) => all.iter_mut().for_each(|one| self.scrub_strings(one)),
            Value::Object(fields) => fields.values_mut().for_each(|one| self.scrub_strings(one)),
            _ => {}
        }
    }
}

/// As it stands within a text of JSON.
fn in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// As it stands in an address (RFC 3986, percent-encoding).
fn in_address(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut written, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            written.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(written, "%{byte:02X}");
        }
        written
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secrets::sift;

    fn scrubbed(variables: &[(&str, &str)], text: &str) -> String {
        let environment = sift(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            false,
        );
        let clean = Scrubber::new(&environment).scrub(text.as_bytes());
        clean.map_or_else(
            || text.to_owned(),
            |clean| String::from_utf8(clean).unwrap(),
        )
    }

    #[test]
    fn values_go_in_whichever_way_they_are_written() {
        let secrets = [
            ("DB_URL", "postgres://shop:p%40ss word@db/shop"),
            ("API_KEY", "se\"cret/7"),
            ("TOKEN", "se\"cret/77"),
            ("PIN_SECRET", "1234"),
            ("HOME", "/root"),
        ];
        for (text, expected) in [
            ("login with p%40ss word now", "login with p%40ss word now"),
            ("GET /?key=se%22cret%2F7&b", "GET /?key=<API_KEY>&b"),
            ("{\"key\": \"se\\\"cret/7\"}", "{\"key\": \"<API_KEY>\"}"),
            ("se\"cret/77 se\"cret/7", "<TOKEN> <API_KEY>"),
            ("1234 in /root", "1234 in /root"),
            ("se\"cret/", "se\"cret/"),
        ] {
            assert_eq!(scrubbed(&secrets, text), expected, "{text}");
        }
        assert_eq!(
            scrubbed(
                &[("DB", "postgres://shop:hunter22@db/shop")],
                "pw=hunter22, postgres://shop:hunter22@db/shop"
            ),
            "pw=<DB>, <DB>"
        );
    }

    #[test]
    fn a_key_of_many_lines_goes_line_by_line() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----";
        let text = "read MIIEvQIBADANBgkqhkiG9w0B from it";
        assert_eq!(scrubbed(&[("SIGN", key)], text), "read <SIGN> from it");
    }

    proptest! {
        #[test]
        fn no_value_is_left(secret in "[a-z0-9/+%\"\\\\]{6,20}", before in "[ -~]{0,30}", after in "[ -~]{0,30}") {
            let environment = sift([("X_TOKEN".to_owned(), secret.clone())], false);
            let text = format!("{before}{secret}{after}{secret}");
            let clean = Scrubber::new(&environment).scrub(text.as_bytes()).unwrap();
            // What stands around may build the value anew together with the name.
            let clean = String::from_utf8(clean).unwrap();
            prop_assert!(clean.contains("<X_TOKEN>"));
            let rest = clean.replace("<X_TOKEN>", "~");
            prop_assert!(!rest.contains(&secret), "{}", rest);
        }
    }
}
