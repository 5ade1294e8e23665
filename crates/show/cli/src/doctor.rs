//! `cohort doctor`.

use cohort_host::doctor::{State, probe};
use console::style;

use crate::exit::Exit;

/// Tries each capability of this host and says what came of it.
pub(crate) fn doctor(color: bool) -> Exit {
    console::set_colors_enabled(color);
    for capability in probe() {
        let state = match capability.state {
            State::Works => style("works  ").green(),
            State::Partly => style("partly ").yellow(),
            State::Missing => style("missing").red(),
        };
        println!("{state}  {:<28} {}", capability.name, capability.found);
        println!("         needed for {}", capability.needed_for);
        if capability.state != State::Works && !capability.how_to_enable.is_empty() {
            println!("         to enable: {}", capability.how_to_enable);
        }
    }
    Exit::Passed
}
