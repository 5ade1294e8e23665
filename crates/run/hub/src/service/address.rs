//! Which addresses of a script stand for the instance that its thread is on.

use std::collections::BTreeSet;

use cohort_scenario::Bundle;

/// Stands for the instance where a script names no address of its own.
pub(crate) const ANYWHERE: &str = "http://sut.cohort";

/// What was found out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Requests to these go to the instance; the first is what `__ENV.BASE_URL` says.
    pub(crate) base_urls: Vec<String>,
    /// What the user should know of it.
    pub(crate) note: Option<String>,
}

/// `given`: what the user wrote. Else the addresses of this host that the script names; else the only
/// address it names.
pub(crate) fn find(given: Option<&str>, bundle: &Bundle) -> Found {
    if let Some(given) = given {
        return Found {
            base_urls: vec![given.to_owned()],
            note: None,
        };
    }
    let named: BTreeSet<String> = bundle
        .modules
        .values()
        .flat_map(|text| origins(text))
        .collect();
    let local: Vec<String> = named
        .iter()
        .filter(|origin| is_local(origin))
        .cloned()
        .collect();
    if !local.is_empty() {
        let note = local_note(&local);
        return Found {
            base_urls: local,
            note,
        };
    }
    let mut others = named.into_iter();
    match (others.next(), others.next()) {
        (Some(only), None) => Found {
            note: Some(format!(
                "requests to {only} go to the instances, since the script names no other address; name another with base_url in [scenario]"
            )),
            base_urls: vec![only],
        },
        (None, _) => Found {
            base_urls: vec![ANYWHERE.to_owned()],
            note: None,
        },
        (Some(first), Some(second)) => Found {
            base_urls: vec![ANYWHERE.to_owned()],
            note: Some(format!(
                "the script names several addresses ({first}, {second}, ...): say with base_url in [scenario] which one stands for the instances"
            )),
        },
    }
}

/// Two ports are two servers, maybe.
fn local_note(local: &[String]) -> Option<String> {
    let port = |origin: &String| {
        let port = origin.rsplit_once(':').map(|(_, port)| port.to_owned());
        port.filter(|port| port.parse::<u16>().is_ok())
    };
    let ports: BTreeSet<Option<String>> = local.iter().map(port).collect();
    (ports.len() > 1).then(|| {
        format!(
            "requests to {} all go to the instances: say with base_url in [scenario] which one stands for them, and with allow which others may be called",
            local.join(" and ")
        )
    })
}

/// Scheme, host and port of every address that is written in `text`, but for those that modules are imported from.
fn origins(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for scheme in ["http://", "https://"] {
        for (place, _) in text.match_indices(scheme) {
            if is_import(&text[..place]) {
                continue;
            }
            let rest = &text[place + scheme.len()..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".-:[]_".contains(c)));
            let host = rest[..end.unwrap_or(rest.len())].trim_end_matches(['.', ':', '-']);
            if !host.is_empty() {
                found.push(format!("{scheme}{host}"));
            }
        }
    }
    found
}

/// Whether what follows `before` is the name of a module.
fn is_import(before: &str) -> bool {
    let word = before.trim_end_matches(['\'', '"']);
    let word = (word.len() < before.len()).then(|| word.trim_end());
    word.is_some_and(|word| {
        ["from", "import", "require("]
            .iter()
            .any(|last| word.ends_with(last))
    })
}

fn is_local(origin: &str) -> bool {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    [
        "localhost",
        "127.0.0.1",
        "0.0.0.0",
        "[::1]",
        "host.docker.internal",
    ]
    .iter()
    .any(|local| host == *local || host.starts_with(&format!("{local}:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(text: &str) -> Bundle {
        Bundle {
            modules: [("load.js".to_owned(), text.to_owned())].into(),
            ..Bundle::default()
        }
    }

    #[test]
    fn what_the_user_says_wins() {
        let found = find(Some("http://x:1"), &bundle("'http://localhost:8080/'"));
        assert_eq!(found.base_urls, ["http://x:1"]);
    }

    #[test]
    fn where_modules_come_from_is_no_address() {
        let text = "import { a } from 'https://jslib.k6.io/k6-utils/1.4.0/index.js'; import \"https://jslib.k6.io/x.js\";
                    const b = require('https://jslib.k6.io/url/1.0.0/index.js'); http.get('https://shop.example/a');";
        let found = find(None, &bundle(text));
        assert_eq!(found.base_urls, ["https://shop.example"]);
    }

    #[test]
    fn addresses_of_this_host_stand_for_the_instance() {
        let text = "const B = __ENV.BASE_URL || 'http://localhost:8080'; http.get(`${B}/a`); // https://k6.io/docs
                    http.get('http://127.0.0.1:8080/b')";
        let found = find(None, &bundle(text));
        assert_eq!(
            found.base_urls,
            ["http://127.0.0.1:8080", "http://localhost:8080"]
        );
        assert_eq!(found.note, None);
        let two = find(
            None,
            &bundle("'http://localhost:8080/' + 'http://localhost:9090'"),
        );
        assert!(two.note.unwrap().contains(":9090 all go"));
    }

    #[test]
    fn the_only_address_does_too_and_it_is_said() {
        let found = find(
            None,
            &bundle("http.get('https://shop.example/a'); http.get(\"https://shop.example/b\")"),
        );
        assert_eq!(found.base_urls, ["https://shop.example"]);
        assert!(found.note.unwrap().contains("https://shop.example"));
        let none = find(None, &bundle("http.get(`${__ENV.BASE_URL}/`)"));
        assert_eq!(
            (none.base_urls, none.note),
            (vec![ANYWHERE.to_owned()], None)
        );
        let many = find(None, &bundle("'http://a.example' + 'http://b.example'"));
        assert!(many.note.unwrap().contains("base_url"));
    }
}
