//! `{port}` and its like in commands, variables and readiness conditions.
//!
//! Only `{` + lower-case letters + `}` is a template; other braces (JSON, shell) are left alone.

use std::net::SocketAddr;

use crate::Error;

/// What templates stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Values {
    /// Number of the instance.
    pub(crate) instance: String,
    /// Its scratch directory.
    pub(crate) scratch: String,
    /// Address to listen on.
    pub(crate) host: String,
    /// Where it is reached from outside.
    pub(crate) address: SocketAddr,
    /// The host as the instance reaches it.
    pub(crate) hub: String,
}

const NAMES: [&str; 5] = ["port", "host", "instance", "scratch", "hub"];

impl Values {
    /// `text` with everything filled in.
    pub(crate) fn fill(&self, text: &str) -> String {
        fill(text, |name| match name {
            "port" => Some(self.address.port().to_string()),
            "host" => Some(self.host.clone()),
            "instance" => Some(self.instance.clone()),
            "scratch" => Some(self.scratch.clone()),
            "hub" => Some(self.hub.clone()),
            _ => None,
        })
    }

    /// The same for whoever connects: `{host}` is where the instance is reached.
    pub(crate) fn fill_for_client(&self, text: &str) -> String {
        let client = Self {
            host: self.address.ip().to_string(),
            ..self.clone()
        };
        client.fill(text)
    }
}

/// Whether `text` uses this template.
pub(crate) fn uses(text: &str, name: &str) -> bool {
    parts(text).any(|part| part == Part::Name(name))
}

/// Whether `text` is the same for all instances.
pub(crate) fn is_common(text: &str) -> bool {
    !NAMES.iter().any(|name| uses(text, name))
}

/// Refuses what looks like a template of ours and is none, as `{prot}`.
pub(crate) fn check(text: &str, place: &str) -> Result<(), Error> {
    let is_close = |name: &str| NAMES.iter().any(|known| is_typo(name, known));
    let wrong = parts(text).find_map(|part| match part {
        Part::Name(name) if !NAMES.contains(&name) && is_close(name) => Some(name.to_owned()),
        _ => None,
    });
    match wrong {
        None => Ok(()),
        Some(name) => Err(Error::Template {
            place: place.to_owned(),
            name,
        }),
    }
}

/// The same letters in another order, or all but one of them.
fn is_typo(name: &str, known: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    let shorter = |long: &str, short: &str| {
        long.len() == short.len() + 1
            && (0..long.len()).any(|at| format!("{}{}", &long[..at], &long[at + 1..]) == short)
    };
    sorted(name) == sorted(known) || shorter(name, known) || shorter(known, name)
}

#[derive(Debug, PartialEq, Eq)]
enum Part<'t> {
    Text(&'t str),
    /// Without its braces.
    Name(&'t str),
}

fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    parts(text)
        .map(|part| match part {
            Part::Text(text) => text.to_owned(),
            Part::Name(name) => value(name).unwrap_or_else(|| format!("{{{name}}}")),
        })
        .collect()
}

fn parts(mut text: &str) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let (part, rest) = next(text);
        text = rest;
        Some(part)
    })
}

fn next(text: &str) -> (Part<'_>, &str) {
    if let Some(inner) = text.strip_prefix('{') {
        let letters = inner.bytes().take_while(u8::is_ascii_lowercase).count();
        if letters > 0 && inner[letters..].starts_with('}') {
            return (Part::Name(&inner[..letters]), &inner[letters + 1..]);
        }
    }
    let mut rest = text.char_indices().skip(1);
    let end = rest
        .find(|(_, letter)| *letter == '{')
        .map_or(text.len(), |(at, _)| at);
    (Part::Text(&text[..end]), &text[end..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> Values {
        Values {
            instance: "3".to_owned(),
            scratch: "/tmp/x".to_owned(),
            host: "0.0.0.0".to_owned(),
            address: "10.1.2.3:8080".parse().unwrap(),
            hub: "10.1.2.1".to_owned(),
        }
    }

    #[test]
    fn templates_are_filled_and_other_braces_left_alone() {
        let values = values();
        for (text, filled) in [
            ("--listen={host}:{port}", "--listen=0.0.0.0:8080"),
            ("{\"port\": {port}}", "{\"port\": 8080}"),
            ("{scratch}/{instance}.db", "/tmp/x/3.db"),
            ("${HOME} {unknown} {{port}}", "${HOME} {unknown} {8080}"),
            ("{ä{port}", "{ä8080"),
            ("", ""),
        ] {
            assert_eq!(values.fill(text), filled);
        }
        assert_eq!(
            values.fill_for_client("http://{host}:{port}/"),
            "http://10.1.2.3:8080/"
        );
        assert!(uses("a{port}", "port") && !uses("{ port }", "port"));
    }

    #[test]
    fn a_typo_is_refused() {
        let error = check("--listen={prot}", "command").unwrap_err().to_string();
        assert!(
            error.contains("{prot}") && error.contains("{port}"),
            "{error}"
        );
        for fine in ["{user}", "{name} {id}", "{port}"] {
            check(fine, "command").unwrap();
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".*") {
            let _ = check(&text, "command");
            if !NAMES.iter().any(|name| uses(&text, name)) {
                prop_assert_eq!(values().fill(&text), text);
            }
        }
    }
}
