//! What ends a command without a campaign's result, and the exit code of each.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::config;
use crate::exit::Exit;

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    Config(config::Error),
    Hub(cohort_hub::Error),
    Past(cohort_hub::PastError),
    Store(cohort_store::Error),
    Suite(cohort_workload::Error),
    Harness(cohort_harness::Error),
    /// A command in one word, which is that of no suite.
    Quoted {
        command: String,
        source: cohort_workload::Error,
    },
    Group(cohort_host::cgroup::Error),
    /// A value of the configuration stands for a variable of the environment that is not there.
    Unset {
        key: String,
        variable: String,
    },
    /// What a script was to be made of.
    Draft {
        path: PathBuf,
        source: cohort_draft::Error,
    },
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The same, of a file that the user named, when it cannot be meant.
    Named {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// There is no directory to work in.
    Directory {
        path: PathBuf,
        source: io::Error,
    },
    /// The campaign ran, and then this could not be written.
    Report(String),
    /// A capsule that cannot be used.
    Capsule(cohort_capsule::Error),
    /// Neither an edge case nor a file.
    NoCase(String),
    /// A flag that means nothing here, and what to write.
    Misplaced(&'static str),
    /// A campaign that is complete cannot be resumed.
    Complete(String),
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        use cohort_hub::Error as Hub;
        use cohort_workload::Error as Suite;
        use cohort_workload::pytest::Error as Pytest;
        match self {
            Failure::Config(_)
            | Failure::Complete(_)
            | Failure::Misplaced(_)
            | Failure::NoCase(_)
            | Failure::Capsule(_)
            | Failure::Directory { .. } => Exit::Usage,
            Failure::Hub(Hub::Pytest(Pytest::NoTests { .. })) => Exit::NoTests,
            Failure::Hub(Hub::Suite(error)) | Failure::Suite(error) => match error {
                Suite::Option { .. } | Suite::CargoSubcommand { .. } | Suite::HalfExec { .. } => {
                    Exit::Usage
                }
                _ => Exit::Suite,
            },
            Failure::Hub(Hub::Pytest(_)) | Failure::Quoted { .. } | Failure::Harness(_) => {
                Exit::Suite
            }
            Failure::Hub(Hub::Scenario(_))
            | Failure::Unset { .. }
            | Failure::Draft { .. }
            | Failure::Named { .. } => Exit::Usage,
            Failure::Hub(Hub::Service(_)) => Exit::Suite,
            Failure::Hub(Hub::Stopped) => Exit::Interrupted,
            Failure::Store(cohort_store::Error::Busy { .. }) => Exit::Busy,
            Failure::Hub(Hub::NoSuchTest { .. })
            | Failure::Store(
                cohort_store::Error::NoCampaign { .. } | cohort_store::Error::NoCase { .. },
            )
            | Failure::Past(_) => Exit::Usage,
            Failure::Hub(_)
            | Failure::Store(_)
            | Failure::Group(_)
            | Failure::File { .. }
            | Failure::Report(_) => Exit::Host,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Config(error) => causes(error, out),
            Failure::Hub(error) => causes(error, out),
            Failure::Past(error) => causes(error, out),
            Failure::Store(error) => causes(error, out),
            Failure::Suite(error) => causes(error, out),
            Failure::Harness(error) => causes(error, out),
            Failure::Quoted { command, source } => {
                causes(source, out)?;
                write!(out, "; is it quoted? try: cohort run -- {command}")
            }
            Failure::Unset { key, variable } => write!(
                out,
                "{key} is the variable {variable}, which is not set; set it, or write the value itself"
            ),
            Failure::Group(error) => causes(error, out),
            Failure::Draft { path, source } => {
                write!(out, "{}: ", path.display())?;
                causes(source, out)
            }
            Failure::File {
                action,
                path,
                source,
            }
            | Failure::Named {
                action,
                path,
                source,
            } => write!(out, "{action} {}: {source}", path.display()),
            Failure::Directory { path, source } => {
                write!(out, "cannot work in {}: {source}", path.display())
            }
            Failure::Report(text) => out.write_str(text),
            Failure::Misplaced(text) => out.write_str(text),
            Failure::Capsule(error) => causes(error, out),
            Failure::NoCase(name) => write!(
                out,
                "`{name}` is neither an edge case, such as EC-3, nor the file of a capsule; `cohort show` lists the edge cases of the latest campaign"
            ),
            Failure::Complete(campaign) => write!(
                out,
                "campaign {campaign} is complete: there is nothing to resume; `cohort run` starts a new one"
            ),
        }
    }
}

/// An error and its causes, none said twice.
fn causes(error: &dyn std::error::Error, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut said = error.to_string();
    out.write_str(&said)?;
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.contains(&text) {
            write!(out, ": {text}")?;
        }
        said = text;
        source = cause.source();
    }
    Ok(())
}

macro_rules! from {
    ($($error:ty => $variant:ident),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Failure::$variant(error)
            }
        })*
    };
}

from! {
    config::Error => Config,
    cohort_hub::Error => Hub,
    cohort_hub::PastError => Past,
    cohort_store::Error => Store,
    cohort_capsule::Error => Capsule,
    cohort_workload::Error => Suite,
    cohort_host::cgroup::Error => Group
}
