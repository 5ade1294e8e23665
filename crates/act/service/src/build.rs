//! The build command: run once, by an init of its own, so that it ends with the hub.

use std::ffi::OsString;
use std::path::Path;

use cohort_host::init::{self, Ended, FromInit, Setup, Start, ToInit};
use cohort_model::InstanceId;

use crate::init::Init;
use crate::spec::Spec;
use crate::{Error, template};

/// What is kept of its output, each stream, bytes.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;
/// Lines of it in an error.
const LINES_MAX: usize = 40;
/// The build is no instance; messages that need a number say this one.
const BUILDER: InstanceId = InstanceId(u32::MAX);
const THREAD: u32 = 0;

/// Builds all other builds; one that cannot be built is left out, and it is said why.
pub(crate) async fn variants(
    spec: &mut Spec,
    executable: &Path,
    arguments: &[String],
) -> Vec<String> {
    let mut left_out = Vec::new();
    for variant in std::mem::take(&mut spec.variants) {
        let mut own = spec.clone();
        own.build.clone_from(&variant.build);
        own.env.extend(variant.env.clone());
        match run(&own, executable, arguments).await {
            Ok(()) => spec.variants.push(variant),
            Err(error) => {
                let why = cohort_host::chain(&error);
                left_out.push(format!("sut.variants.{} is left out: {why}", variant.name));
            }
        }
    }
    left_out
}

/// Runs it to its end.
///
/// # Errors
/// When it fails, with the end of what it wrote.
pub(crate) async fn run(spec: &Spec, executable: &Path, arguments: &[String]) -> Result<(), Error> {
    let Some((program, words)) = spec.build.split_first() else {
        return Ok(());
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let spawned = init::spawn(executable, &arguments)?;
    let setup = Setup {
        instance: BUILDER.0,
        output_bytes_max: OUTPUT_BYTES_MAX,
        ..Setup::default()
    };
    let (mut init, _) = Init::set_up(BUILDER, spawned, setup).await?;
    let start = Start {
        thread: THREAD,
        program: program.into(),
        args: words.iter().map(Into::into).collect(),
        env: environment(spec),
        cwd: spec.directory.clone(),
        nice: 0,
    };
    init.tell(&ToInit::Start(start)).await?;
    let ended = loop {
        match init.hear().await? {
            FromInit::Ended(ended) => break Ok(ended),
            FromInit::StartFailed { message, .. } => break Err(message),
            _ => {}
        }
    };
    init.end().await;
    let failed = |how: String, output: String| Error::Build {
        command: written(&spec.build),
        how,
        output,
    };
    match ended {
        Ok(Ended {
            exit_code: Some(0), ..
        }) => Ok(()),
        Ok(ended) => {
            let how = match (ended.exit_code, ended.signal) {
                (Some(code), _) => format!("exited with code {code}"),
                (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
            };
            Err(failed(how, last_lines(&ended)))
        }
        Err(message) => Err(failed("did not start".to_owned(), message)),
    }
}

/// As its user wrote it: a shell's script stands alone.
fn written(words: &[String]) -> String {
    match words {
        [shell, _, flag, script] if shell == "sh" && flag == "-c" => script.clone(),
        words => words.join(" "),
    }
}

/// What it inherits, and the variables of the server that are not for one instance alone.
fn environment(spec: &Spec) -> Vec<(OsString, OsString)> {
    let own = spec.env.iter();
    let own = own.filter(|(_, value)| template::is_common(value));
    let own: Vec<(OsString, OsString)> = own
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let mut all = spec.inherited.clone();
    all.retain(|(name, _)| !own.iter().any(|(ours, _)| ours == name));
    all.extend(own);
    all
}

fn last_lines(ended: &Ended) -> String {
    let text = [ended.stdout.as_slice(), ended.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}
