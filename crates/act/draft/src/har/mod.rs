//! From a recording to a script.
//!
//! ```text
//!   entries (read) -> those worth sending (select) -> pages of steps (plan)
//!                  -> values of answers that later requests send (carry) -> script (write)
//! ```

mod body;
mod carry;
mod entry;
mod helpers;
mod plan;
mod secrets;
mod select;
mod time;
mod write;

use crate::script::Script;
use crate::{Draft, Error};

pub(crate) fn draft(text: &str) -> Result<Draft, Error> {
    let value = crate::json(
        text,
        "a HAR file: JSON, as a browser's network panel saves it",
    )?;
    let recording = entry::read(&value)?;
    let mut script = Script::default();
    let selected = select::select(recording.entries, &mut script)?;
    let carried = carry::find(&selected.entries, &mut script.names);
    let pages = plan::plan(&selected, &recording.pages);
    Ok(write::write(script, &selected, &pages, &carried))
}
