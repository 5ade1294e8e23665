//! `cohort script`: a first k6 script from what is there already.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::arguments::ScriptSource;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::say;

/// Writes a script to `output`, or prints it.
pub(crate) fn script(directory: &Path, source: &ScriptSource) -> Result<Exit, Failure> {
    let (ScriptSource::FromHar { file, output } | ScriptSource::FromOpenapi { file, output }) =
        source;
    let path = directory.join(file);
    let bytes = std::fs::read(&path).map_err(failed("read", &path))?;
    let text = String::from_utf8_lossy(&bytes);
    let draft = match source {
        ScriptSource::FromHar { .. } => cohort_draft::from_har(&text),
        ScriptSource::FromOpenapi { .. } => cohort_draft::from_openapi(&text),
    };
    let draft = draft.map_err(|error| Failure::Draft {
        path: path.clone(),
        source: error,
    })?;
    match output {
        Some(output) => {
            let target = directory.join(output);
            let mut made = std::fs::File::create_new(&target).map_err(failed("create", &target))?;
            std::io::Write::write_all(&mut made, draft.script.as_bytes())
                .map_err(failed("write", &target))?;
            say::note(format_args!(
                "wrote {}; it is called when cohort.toml says `script = \"{}\"` in [scenario]. It begins with one thread: find more by `cohort run --vus 20 --duration 5m`",
                target.display(),
                output.display()
            ));
        }
        None => say::print(|out| out.write_all(draft.script.as_bytes()))?,
    }
    for note in &draft.notes {
        say::note(note);
    }
    for variable in &draft.variables {
        say::note(format_args!(
            "set {} in [scenario] env: {}",
            variable.name, variable.meaning
        ));
    }
    Ok(Exit::Passed)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = PathBuf::from(path);
    move |source| match source.kind() {
        // What was named is not there, or must not be touched: not for the host to mend.
        ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::PermissionDenied
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory => Failure::Named {
            action,
            path,
            source,
        },
        _ => Failure::File {
            action,
            path,
            source,
        },
    }
}
