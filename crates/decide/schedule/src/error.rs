//! What can be wrong with a script's options.

/// What is wrong with a script's options. Paths are those of the JSON: `options.scenarios.buy.rate`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value of another kind than is wanted.
    #[error("{path}: expected {expected}, found {found}")]
    Wrong {
        /// Where.
        path: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there, as JSON, shortened.
        found: String,
    },
    /// A key that does not exist.
    #[error("{path}: there is no such option; {hint}")]
    Unknown {
        /// Where.
        path: String,
        /// The likeliest key, or the known ones.
        hint: String,
    },
    /// An option of k6's that is not honoured here.
    #[error("{path}: not supported: {why}; remove it")]
    Unsupported {
        /// Where.
        path: String,
        /// Why, or what to use instead.
        why: &'static str,
    },
    /// Something that must be said was not.
    #[error("{path}: `{key}` is missing: it is needed {why}")]
    Missing {
        /// Where.
        path: String,
        /// Which key.
        key: &'static str,
        /// What it is needed for.
        why: &'static str,
    },
    /// Two options that exclude each other.
    #[error("{path}: `{one}` and `{other}` exclude each other; keep one of them")]
    Conflict {
        /// Where.
        path: String,
        /// One.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A threshold that cannot be read.
    #[error("{path}: threshold `{source_text}`: {why}")]
    Threshold {
        /// Where.
        path: String,
        /// As it was written.
        source_text: String,
        /// What is wrong with it, and what was expected.
        why: String,
    },
}

/// A JSON value in few characters.
pub(crate) fn shortened(value: &serde_json::Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 40 {
        return text;
    }
    let start: String = text.chars().take(37).collect();
    format!("{start}...")
}
