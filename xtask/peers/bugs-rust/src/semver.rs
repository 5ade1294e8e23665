//! Versions with three numbers and perhaps a name: `1.4.0-beta`.

use std::cmp::Ordering;

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    numbers: [u32; 3],
    name: Option<String>,
}

/// Reads one.
pub fn parse(text: &str) -> Option<Version> {
    let (numbers, name) = match text.split_once('-') {
        Some((numbers, name)) => (numbers, Some(name.to_owned())),
        None => (text, None),
    };
    let mut parts = numbers.split('.').map(|part| part.parse().ok());
    let mut next = || parts.next().flatten();
    let numbers = [next()?, next()?, next()?];
    Some(Version { numbers, name })
}

/// Which one is older.
pub fn compare(one: &Version, other: &Version) -> Ordering {
    let numbers = one.numbers.cmp(&other.numbers);
    if numbers != Ordering::Equal {
        return numbers;
    }
    match (&one.name, &other.name) {
        (None, None) => Ordering::Equal,
        (Some(one), Some(other)) => one.cmp(other),
        (Some(_), None) => Ordering::Greater, // the fault
        (None, Some(_)) => Ordering::Greater,
    }
}

/// The newest of all.
pub fn newest<'a>(all: &[&'a str]) -> Option<&'a str> {
    let mut newest: Option<(&str, Version)> = None;
    for text in all {
        let Some(version) = parse(text) else { continue };
        let newer = match &newest {
            Some((_, best)) => compare(&version, best) == Ordering::Greater,
            None => true,
        };
        if newer {
            newest = Some((text, version));
        }
    }
    newest.map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_first() {
        assert_eq!(newest(&["1.2.3", "1.10.0", "1.9.9"]), Some("1.10.0"));
    }

    #[test]
    fn names_are_compared() {
        assert_eq!(newest(&["1.0.0-beta", "1.0.0-alpha"]), Some("1.0.0-beta"));
    }

    #[test]
    fn a_release_follows_its_previews() {
        assert_eq!(newest(&["2.0.0-rc", "2.0.0"]), Some("2.0.0"));
    }

    #[test]
    fn nonsense_is_left_out() {
        assert_eq!(newest(&["x", "1.2"]), None);
        assert_eq!(newest(&["x", "0.0.1"]), Some("0.0.1"));
    }

    #[test]
    fn a_preview_does_not_replace_the_release() {
        assert_eq!(newest(&["2.0.0", "2.0.0-rc"]), Some("2.0.0"));
    }
}
