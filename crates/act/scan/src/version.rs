//! Versions as package registries compare them, near enough for all of them: numbers by value, and what comes before a release
//! (`rc`, `alpha`, `-x`) before it (Semantic Versioning 2.0.0, 11; PEP 440).

use std::cmp::Ordering;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Text(String),
    Number(u64),
}

/// A version, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    release: Vec<u64>,
    /// Empty: it is a release.
    before: Vec<Piece>,
}

impl Version {
    /// None where it does not begin with a number.
    pub(crate) fn of(text: &str) -> Option<Version> {
        let text = text.trim().trim_start_matches(['v', '=']);
        let text = text.split('+').next()?;
        let end = text.find(|it: char| !it.is_ascii_digit() && it != '.');
        let (release, rest) = text.split_at(end.unwrap_or(text.len()));
        let mut numbers = Vec::new();
        for number in release.trim_end_matches('.').split('.') {
            numbers.push(number.parse().ok()?);
        }
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        // What is only added to a release comes after it.
        let is_later = [".post", "post", "-post"]
            .iter()
            .any(|it| rest.starts_with(it));
        let before = match is_later {
            true => Vec::new(),
            false => pieces(rest),
        };
        Some(Version {
            release: numbers,
            before,
        })
    }

    fn number(&self, at: usize) -> u64 {
        self.release.get(at).copied().unwrap_or(0)
    }

    fn of_numbers(numbers: &[u64]) -> Version {
        let mut release = numbers.to_vec();
        while release.last() == Some(&0) {
            release.pop();
        }
        Version {
            release,
            before: Vec::new(),
        }
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text.trim_start_matches(['-', '.', '_']);
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|it: char| it.is_ascii_digit() != is_digit || "-._".contains(it));
        let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
        pieces.push(match piece.parse() {
            Ok(number) if is_digit => Piece::Number(number),
            _ => Piece::Text(piece.to_ascii_lowercase()),
        });
        rest = after.trim_start_matches(['-', '.', '_']);
    }
    pieces
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let release = self.release.cmp(&other.release);
        release.then_with(|| match (self.before.is_empty(), other.before.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => self.before.cmp(&other.before),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether a version fits a requirement as Cargo writes them: `>= 1.2, < 2`, `^1.2.3`, `~1.2`, `= 1.0.0`.
pub(crate) fn fits(version: &Version, requirement: &str) -> bool {
    requirement
        .split(',')
        .all(|one| fits_one(version, one.trim()))
}

fn fits_one(version: &Version, requirement: &str) -> bool {
    let end = requirement.find(|it: char| it.is_ascii_digit());
    let (sign, wanted) = requirement.split_at(end.unwrap_or(requirement.len()));
    let Some(wanted) = Version::of(wanted) else {
        return requirement == "*";
    };
    match sign.trim() {
        ">=" => *version >= wanted,
        ">" => *version > wanted,
        "<=" => *version <= wanted,
        "<" => *version < wanted,
        "=" => *version == wanted,
        "~" => {
            let next = Version::of_numbers(&[wanted.number(0), wanted.number(1) + 1]);
            (wanted..next).contains(version)
        }
        _ => {
            let next = match (wanted.number(0), wanted.number(1), wanted.number(2)) {
                (0, 0, patch) => vec![0, 0, patch + 1],
                (0, minor, _) => vec![0, minor + 1],
                (major, ..) => vec![major + 1],
            };
            (wanted..Version::of_numbers(&next)).contains(version)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Version {
        Version::of(text).expect("a version")
    }

    #[test]
    fn versions_are_in_order() {
        let order = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.2",
            "1.0.0-rc.1",
            "1.0",
            "1.0.1",
            "1.10",
            "2.0rc1",
            "2",
        ];
        assert!(
            order.windows(2).all(|two| of(two[0]) < of(two[1])),
            "{order:?}"
        );
        assert_eq!(of("v1.0.0+build"), of("1"));
        assert!(of("2.0.post1") >= of("2.0"));
        assert_eq!(Version::of("latest"), None);
    }

    #[test]
    fn requirements_are_those_of_cargo() {
        for (version, requirement, wanted) in [
            ("1.2.5", ">= 1.2.3, < 2", true),
            ("2.0.0", ">= 1.2.3, < 2", false),
            ("0.3.1", "^0.3", true),
            ("0.4.0", "^0.3", false),
            ("1.9.0", "^1.2.3", true),
            ("1.3.0", "~1.2.3", false),
            ("1.0.0", "= 1.0.0", true),
            ("0.0.4", "^0.0.3", false),
        ] {
            assert_eq!(
                fits(&of(version), requirement),
                wanted,
                "{version} {requirement}"
            );
        }
    }
}
