//! `cohort doctor`.

use cohort_host::doctor::{State, probe};
use console::style;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::say;

/// Tries each capability of this host and says what came of it.
pub(crate) fn doctor(color: bool) -> Result<Exit, Failure> {
    console::set_colors_enabled(color);
    say::print(|out| {
        for capability in probe() {
            let state = match capability.state {
                State::Works => style("works  ").green(),
                State::Partly => style("partly ").yellow(),
                State::Missing => style("missing").red(),
            };
            let (name, found) = (capability.name, &capability.found);
            writeln!(out, "{state}  {name:<28} {found}")?;
            writeln!(out, "         needed for {}", capability.needed_for)?;
            if capability.state != State::Works && !capability.how_to_enable.is_empty() {
                writeln!(out, "         to enable: {}", capability.how_to_enable)?;
            }
        }
        Ok(())
    })?;
    Ok(Exit::Passed)
}
