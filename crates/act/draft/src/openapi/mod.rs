//! From a description to a script.
//!
//! ```text
//!   file -> document (version, $ref) -> operations, each with sample values -> script
//! ```

mod body;
mod document;
mod operation;
mod sample;
mod security;
mod server;
mod write;

use crate::script::Script;
use crate::{Draft, Error};

pub(crate) fn draft(text: &str) -> Result<Draft, Error> {
    let value = document::parse(text)?;
    let document = document::Document::of(&value)?;
    let mut script = Script::default();
    let base = server::base(&document, &mut script)?;
    let operations = operation::read(&document, &mut script)?;
    write::write(&document, script, &base, &operations)
}

/// The file as JSON, when it is a description.
pub(crate) fn as_json(text: &str) -> Result<String, Error> {
    let value = document::parse(text)?;
    document::Document::of(&value)?;
    Ok(value.to_string())
}
