//! Where the URLs that a script makes vary: `` `${base}/carts/${user}/items` `` has anything after `/carts/`.
//!
//! Read from the source, from templates and from texts that are added up. It only tells where something is put in,
//! not what: whether that is a name of few or one of many is for whoever looks at paths.

use std::collections::BTreeSet;

use crate::lexer::{Kind, tokens};

/// Of a script no more are kept.
const HOLES_MAX: usize = 1_000;

/// Places in paths where a script puts something in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holes {
    /// The segment before, `{}` where something was put in there too, and what the segment begins with.
    after: BTreeSet<(String, String)>,
}

impl Holes {
    /// Those of one module.
    #[must_use]
    pub fn of(source: &str) -> Holes {
        let mut holes = Holes::default();
        holes.read(source);
        holes
    }

    /// What a segment of a path begins with before something is put in, if that is done there; `before` is the
    /// segment before it, with `{}` in place of what varies. The longest beginning, if there are several.
    #[must_use]
    pub fn beginning(&self, before: &str, segment: &str) -> Option<&str> {
        let known = (self.after.iter()).filter(|(after, _)| after == before);
        let fits = known.filter(|(_, beginning)| segment.starts_with(beginning.as_str()));
        fits.map(|(_, beginning)| beginning.as_str())
            .max_by_key(|beginning| beginning.len())
    }

    /// Adds those of another module.
    pub(crate) fn read(&mut self, source: &str) {
        let tokens = tokens(source);
        for (at, token) in tokens.iter().enumerate() {
            let joined = |place: Option<usize>| {
                let place = place.and_then(|place| tokens.get(place));
                place.is_some_and(|token| token.is('+'))
            };
            let (text, hole_before, hole_after) = match &token.kind {
                Kind::Piece { text, first, last } => (text, !first, !last),
                Kind::Text(text) => (text, joined(at.checked_sub(1)), joined(Some(at + 1))),
                _ => continue,
            };
            if hole_after && self.after.len() < HOLES_MAX {
                self.after.extend(hole(text, hole_before));
            }
        }
    }
}

/// What stands before the hole at the end of a text. What was put in before may be a segment, or all up to the path.
fn hole(text: &str, hole_before: bool) -> Vec<(String, String)> {
    let Some((rest, beginning)) = text.rsplit_once('/') else {
        return Vec::new();
    };
    if beginning.contains(['?', '#', '&', '=', ' ']) || rest.contains('?') {
        return Vec::new();
    }
    let before = match rest.rsplit_once('/') {
        Some((_, before)) => vec![before],
        None if rest.is_empty() && hole_before => vec!["{}", ""],
        None => vec![rest],
    };
    let all = before.into_iter().map(|before| (before, beginning));
    all.filter(|(before, beginning)| !before.is_empty() || !beginning.is_empty())
        .map(|(before, beginning)| (before.to_owned(), beginning.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_templates_and_of_texts_that_are_added_up() {
        for source in [
            "http.get(`${base}/carts/${user}/items/${id}?page=${page}`)",
            "http.get(base + '/carts/' + user + '/items/' + id + '?page=' + page)",
            "http.get('http://sut.test/carts/' + user + \"/items/\" + id)",
        ] {
            let holes = Holes::of(source);
            assert_eq!(holes.beginning("carts", "u3"), Some(""), "{source}");
            assert_eq!(holes.beginning("items", "a-1"), Some(""), "{source}");
            assert_eq!(holes.beginning("", "carts"), None, "{source}");
            assert_eq!(holes.beginning("steps", "step2"), None, "{source}");
        }
    }

    #[test]
    fn beginnings_and_places_that_follow_each_other() {
        let holes = Holes::of("f(`${base}/users/user-${n}`, `/of/${a}/${b}`, `${base}/u${n}`)");
        assert_eq!(holes.beginning("users", "user-17"), Some("user-"));
        assert_eq!(holes.beginning("users", "admin1"), None);
        assert_eq!(holes.beginning("of", "x1"), Some(""));
        assert_eq!(holes.beginning("{}", "y1"), Some(""));
        assert_eq!(holes.beginning("", "u4"), Some("u"));
        assert_eq!(holes.beginning("", "v1"), None);
    }

    #[test]
    fn what_is_written_out_has_none() {
        assert_eq!(
            Holes::of("http.get(base + '/checkout/step2')"),
            Holes::default()
        );
        assert_eq!(
            Holes::of("const a = 6 / b + '/';  // `/${x}`"),
            Holes::default()
        );
    }
}
