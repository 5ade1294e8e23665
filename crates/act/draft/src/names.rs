//! Names in a script: of constants, functions and variables, each once.

use std::collections::BTreeSet;

/// Words that cannot be names, or that the script itself uses.
const TAKEN: &str = "API BASE_URL JSON Math Object __ENV __ITER __VU arguments await break case catch check class \
    const continue debugger default delete do else encodeURIComponent enum eval export extends false \
    field finally for function group handleSummary http if implements import in instanceof interface \
    jar let mix new newKey null options package pick private protected public res return session \
    setup sleep static super switch teardown this throw true try typeof undefined var void while \
    with yield";

/// Names that are used once each.
#[derive(Debug, Default)]
pub(crate) struct Names {
    used: BTreeSet<String>,
}

impl Names {
    /// `wanted`, or with the first number behind it that makes it another name.
    pub(crate) fn unique(&mut self, wanted: &str) -> String {
        let free =
            |name: &str| TAKEN.split(' ').all(|taken| taken != name) && !self.used.contains(name);
        let mut name = wanted.to_owned();
        let mut number = 2_u32;
        while !free(&name) {
            let separator = if wanted.ends_with(|c: char| c.is_ascii_digit()) {
                "_"
            } else {
                ""
            };
            name = format!("{wanted}{separator}{number}");
            number += 1;
        }
        self.used.insert(name.clone());
        name
    }
}

/// `list pets`, `list-pets`, `ListPets` as `listPets`; `fallback` when nothing is left.
pub(crate) fn camel_case(text: &str, fallback: &str) -> String {
    let mut name = String::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let Some(first) = word.chars().next() else {
            continue;
        };
        if name.is_empty() {
            name.push(first.to_ascii_lowercase());
        } else {
            name.push(first.to_ascii_uppercase());
        }
        name.push_str(&word[1..]);
    }
    name.truncate(60);
    match name.chars().next() {
        None => fallback.to_owned(),
        Some(first) if first.is_ascii_digit() => format!("{fallback}{name}"),
        Some(_) => name,
    }
}

/// `X-Api-Key`, `apiKey` as `X_API_KEY`, `API_KEY`.
pub(crate) fn upper_case(text: &str, fallback: &str) -> String {
    let mut name = String::new();
    let mut lower = false;
    for char in text.chars() {
        if char.is_ascii_alphanumeric() {
            if char.is_ascii_uppercase() && lower {
                name.push('_');
            }
            lower = char.is_ascii_lowercase() || char.is_ascii_digit();
            name.push(char.to_ascii_uppercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
            lower = false;
        }
    }
    name.truncate(60);
    let name = name.trim_end_matches('_');
    match name.chars().next() {
        None => fallback.to_owned(),
        Some(first) if first.is_ascii_digit() => format!("{fallback}_{name}"),
        Some(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_anything() {
        assert_eq!(camel_case("List all-pets", "x"), "listAllPets");
        assert_eq!(camel_case("2fa", "call"), "call2fa");
        assert_eq!(camel_case("\u{e9}\u{e9}", "call"), "call");
        assert_eq!(upper_case("X-Api-Key", "x"), "X_API_KEY");
        assert_eq!(upper_case("accessToken", "x"), "ACCESS_TOKEN");
        assert_eq!(upper_case("-", "VALUE"), "VALUE");
        let mut names = Names::default();
        assert_eq!(names.unique("delete"), "delete2");
        assert_eq!(names.unique("pet"), "pet");
        assert_eq!(names.unique("pet"), "pet2");
        assert!(TAKEN.split(' ').is_sorted());
    }
}
