//! `cohort doctor`.

mod lines;

use std::io::{self, Write};

use cohort_conditions::able;
use cohort_host::doctor::{Capability, State, probe};
use cohort_model::ConditionKind;
use cohort_report::case::words::kind;
use console::style;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::say;

/// Conditions named in one line.
const NAMES_IN_LINE: usize = 6;

/// Tries each capability of this host and says what came of it.
pub(crate) fn doctor(color: bool) -> Result<Exit, Failure> {
    console::set_colors_enabled(color);
    let capabilities = probe();
    say::print(|out| {
        for capability in &capabilities {
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
        conditions(&capabilities, out)?;
        lines::lines(out)
    })?;
    Ok(Exit::Passed)
}

/// Under which conditions an edge case can be tried again here: those that can be had in one line,
/// every other one with what it lacks.
fn conditions(capabilities: &[Capability], out: &mut dyn Write) -> io::Result<()> {
    let works = |name: &str| {
        let mut all = capabilities.iter();
        all.any(|it| it.name == name && it.state == State::Works)
    };
    let mut all = able();
    for (it, able) in &mut all {
        // A control group does these better than the tracer that would have to do without one.
        let by_group = match it {
            ConditionKind::CpuLimit => works("CPU share"),
            ConditionKind::MemoryLimit => works("memory limit"),
            _ => false,
        };
        if by_group {
            *able = Ok(());
        }
    }
    let had = all.iter().filter(|(_, able)| able.is_ok());
    let names: Vec<&str> = had.map(|(it, _)| kind(*it)).collect();
    let (have, of) = (names.len(), all.len());
    let state = match have {
        0 => style("missing").red(),
        _ if have == of => style("works  ").green(),
        _ => style("partly ").yellow(),
    };
    let name = "conditions of edge cases";
    writeln!(out, "{state}  {name:<28} {have} of {of} can be varied")?;
    writeln!(
        out,
        "         needed for finding under which condition a test fails, and running it so again"
    )?;
    for names in names.chunks(NAMES_IN_LINE) {
        writeln!(out, "         can vary: {}", names.join(", "))?;
    }
    for (it, able) in &all {
        if let Err(why) = able {
            writeln!(out, "         cannot vary {}: {why}", kind(*it))?;
        }
    }
    Ok(())
}
