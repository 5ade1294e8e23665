//! A first scenario script, written from a recording (HAR) or a description (OpenAPI) of a service.
//!
//! ```text
//!   HAR     -> entries -> pages of steps, secrets and values to carry over found -> script
//!   OpenAPI -> operations with example values ---------------------------------> script
//! ```
//!
//! Promises: the same file gives the same script, byte for byte; what is left out is said, in the
//! draft and at the head of the script; no value that looks like a secret is in the script; and
//! nothing that stands in a file can become code.

mod har;
mod js;
mod names;
mod node;
mod openapi;
mod script;
mod secret;

/// A script, and what to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// A k6 script.
    pub script: String,
    /// What has to be set in the environment before it can run: what the file holds instead is
    /// secret, or is not in it.
    pub variables: Vec<Variable>,
    /// What was left out or guessed, a sentence each.
    pub notes: Vec<String>,
}

/// One variable of the environment that a script reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub meaning: String,
}

/// No script can be written from the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not JSON.
    #[error("line {line}, column {column}: {what}; expected {expected}")]
    Json {
        /// Line of the file, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        what: String,
        /// What the file should be.
        expected: &'static str,
    },
    /// It is not YAML.
    #[error("{what}; expected {expected}")]
    Yaml {
        /// What is wrong, with its line and column.
        what: String,
        /// What the file should be.
        expected: &'static str,
    },
    /// Something in it is not what it should be.
    #[error("{place}: expected {expected}, found {found}")]
    Shape {
        /// Where: `log.entries[3].request.url`.
        place: String,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A value in it makes no sense.
    #[error("{place}: {found:?} is not {expected}")]
    Value {
        /// Where.
        place: String,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// There is nothing to call in it.
    #[error("{0}")]
    Nothing(String),
}

/// Writes a script from a recording of a browser: HTTP Archive 1.2, as Chrome, Firefox, Safari and
/// proxies export it. <http://www.softwareishard.com/blog/har-12-spec/>
///
/// # Errors
/// The file is no recording, or nothing in it can be sent again.
pub fn from_har(text: &str) -> Result<Draft, Error> {
    har::draft(text)
}

/// Writes a script from a description of an API: OpenAPI 3.0 or 3.1, or Swagger 2.0, in JSON or YAML.
///
/// # Errors
/// The file is no such description, or has no operations.
pub fn from_openapi(text: &str) -> Result<Draft, Error> {
    openapi::draft(text)
}

/// A description of an API, as JSON.
///
/// # Errors
/// The file is no such description.
pub fn openapi_as_json(text: &str) -> Result<String, Error> {
    openapi::as_json(text)
}

/// The value of a JSON file.
fn json(text: &str, expected: &'static str) -> Result<serde_json::Value, Error> {
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str(text).map_err(|error| {
        let what = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        Error::Json {
            line: error.line(),
            column: error.column(),
            what: what.strip_suffix(&place).unwrap_or(&what).to_owned(),
            expected,
        }
    })
}

/// A part of an address without its percent signs.
fn percent_decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
