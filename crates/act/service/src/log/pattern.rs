//! What a line is to hold: a text, or several in this order (`started*port`).

/// Parts of a line to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<String>);

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        let parts = text.split('*').filter(|part| !part.is_empty());
        Self(parts.map(str::to_owned).collect())
    }

    pub(super) fn is_in(&self, line: &str) -> bool {
        let mut rest = line;
        self.0.iter().all(|part| match rest.find(part.as_str()) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_order() {
        let pattern = Pattern::new("listening on *:80*!");
        assert!(pattern.is_in("12:00 listening on 0.0.0.0:8080, go!"));
        assert!(!pattern.is_in("! listening on :80"));
        assert!(Pattern::new("ready").is_in("server is ready now"));
        assert!(!Pattern::new("ready").is_in("Ready"));
    }
}
