//! What of an environment is a secret, and how its value is kept out of all else.
//!
//! Left out by default: variables by name (`*TOKEN*`, `*SECRET*`, `*PASS*`, `*CREDENTIAL*`, `*_KEY`,
//! `AWS_*` ...) and whatever has the looks of a credential (an address with a password in it, a JSON Web
//! Token, the key formats of well-known services, a long word without a pattern). A name too many costs a
//! variable that whoever repeats the case has to set; a name too few would cost more.

mod names;
mod scrub;
mod values;

use std::collections::BTreeMap;

pub use scrub::Scrubber;

/// An environment, its secrets apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// What may be kept.
    pub kept: BTreeMap<String, String>,
    /// What may not.
    secrets: BTreeMap<String, String>,
}

impl Environment {
    /// Names of what was left out, in order.
    pub fn left_out(&self) -> impl Iterator<Item = &str> {
        self.secrets.keys().map(String::as_str)
    }

    /// Names and values of what was left out: for the scrubber.
    fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.secrets
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Takes the secrets out of an environment; `keep_all` is for who asked for it.
pub fn sift(variables: impl IntoIterator<Item = (String, String)>, keep_all: bool) -> Environment {
    let mut environment = Environment::default();
    for (name, value) in variables {
        let place = if !keep_all && is_secret(&name, &value) {
            &mut environment.secrets
        } else {
            &mut environment.kept
        };
        place.insert(name, value);
    }
    environment
}

/// Whether a variable is, or looks like, a secret.
#[must_use]
pub fn is_secret(name: &str, value: &str) -> bool {
    // Nothing to keep to oneself: a switch, or not set at all.
    let is_switch =
        value.is_empty() || matches!(value, "0" | "1" | "true" | "false" | "yes" | "no");
    !is_switch && (names::tells_of_secret(name) || values::looks_like_secret(value))
}
