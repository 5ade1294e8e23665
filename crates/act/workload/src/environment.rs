//! The environment a suite would see had its user typed the suite's own command.
//!
//! When Cohort itself was started by cargo (`cargo run -- run`, a developer task), cargo and rustup
//! left variables that speak of Cohort: its package, its toolchain, its library path. None of them
//! may reach the suite. Outside cargo nothing is changed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Set by cargo for the program it runs (the Cargo Book, "Environment variables Cargo sets").
const CARGO_NAMES: [&str; 9] = [
    "CARGO",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
    "OUT_DIR",
];
const CARGO_PREFIXES: [&str; 2] = ["CARGO_PKG_", "CARGO_BIN_EXE_"];
/// Where cargo puts the directories of a program's own shared libraries.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// All variables of an environment.
pub type Variables = BTreeMap<OsString, OsString>;

/// This process's environment without what cargo and rustup set for Cohort itself.
#[must_use]
pub fn own() -> Variables {
    let program = std::env::current_exe().unwrap_or_default();
    without_cargo(std::env::vars_os().collect(), &program)
}

/// This process's environment as [`own`] gives it, with a suite's own variables added.
#[must_use]
pub fn with(added: &BTreeMap<String, String>) -> Variables {
    let mut variables = own();
    variables.extend(
        added
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    variables
}

/// Takes `env A=1 B=2 command ...` apart: what it sets, and the command. Of any other command nothing
/// is taken.
pub(crate) fn split_env(command: &[String]) -> (&[String], &[String]) {
    match command.split_first() {
        Some((program, words)) if Path::new(program).ends_with("env") => {
            let is_setting = |word: &&String| word.contains('=') && !word.starts_with('-');
            words.split_at(words.iter().take_while(is_setting).count())
        }
        _ => (&[], command),
    }
}

/// `variables` without what cargo and rustup set for `program`, the path of Cohort's own executable.
#[must_use]
pub fn without_cargo(mut variables: Variables, program: &Path) -> Variables {
    let is_set = |name: &str| variables.contains_key(OsStr::new(name));
    if !is_set("CARGO") || !is_set("CARGO_MANIFEST_DIR") {
        return variables;
    }
    strip_library_path(&mut variables, program);
    for name in CARGO_NAMES {
        variables.remove(OsStr::new(name));
    }
    variables.retain(|name, _| {
        let name = name.to_string_lossy();
        !CARGO_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    });
    // The recursion count is there only when rustup's proxy ran. A toolchain that the user chose by
    // the variable itself stays; one that came from `+name` or a directory was chosen for Cohort.
    if variables
        .remove(OsStr::new("RUST_RECURSION_COUNT"))
        .is_some()
    {
        let source = variables.remove(OsStr::new("RUSTUP_TOOLCHAIN_SOURCE"));
        if source.as_deref() != Some(OsStr::new("env")) {
            variables.remove(OsStr::new("RUSTUP_TOOLCHAIN"));
        }
    }
    variables
}

/// Takes out the directories beside `program` and those of its toolchain, which cargo put in front.
fn strip_library_path(variables: &mut Variables, program: &Path) {
    let Some(value) = variables.remove(OsStr::new(LIBRARY_PATH)) else {
        return;
    };
    // `target/release/cohort`, or `target/debug/deps/test-0123` when a test asks.
    let mut beside = program.parent().unwrap_or(program);
    if beside.ends_with("deps") {
        beside = beside.parent().unwrap_or(beside);
    }
    let cargo = variables
        .get(OsStr::new("CARGO"))
        .map(PathBuf::from)
        .unwrap_or_default();
    let libraries = cargo
        .parent()
        .and_then(Path::parent)
        .map(|toolchain| toolchain.join("lib"));
    let is_cargos = |path: &Path| {
        path.starts_with(beside)
            || libraries
                .as_ref()
                .is_some_and(|lib| path == lib || path.starts_with(lib.join("rustlib")))
    };
    let kept: Vec<PathBuf> = std::env::split_paths(&value)
        .filter(|path| !is_cargos(path))
        .collect();
    if !kept.is_empty()
        && let Ok(value) = std::env::join_paths(kept)
    {
        variables.insert(LIBRARY_PATH.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(of: &[(&str, &str)]) -> Variables {
        of.iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn what_cargo_set_for_cohort_is_taken_out() {
        let before = variables(&[
            ("CARGO", "/rustup/toolchains/stable/bin/cargo"),
            ("CARGO_HOME", "/home/u/.cargo"),
            ("CARGO_TARGET_DIR", "/elsewhere"),
            ("CARGO_MANIFEST_DIR", "/work/cohort"),
            ("CARGO_PKG_NAME", "cohort"),
            (
                "LD_LIBRARY_PATH",
                "/work/target/release/build/x/out:/work/target/release:/opt/mine:\
                 /rustup/toolchains/stable/lib/rustlib/x/lib:/rustup/toolchains/stable/lib",
            ),
            ("RUSTUP_TOOLCHAIN", "stable"),
            ("RUSTUP_TOOLCHAIN_SOURCE", "cli"),
            ("RUST_RECURSION_COUNT", "1"),
            ("RUST_BACKTRACE", "1"),
        ]);
        let after = without_cargo(before, Path::new("/work/target/release/cohort"));
        assert_eq!(
            after,
            variables(&[
                ("CARGO_HOME", "/home/u/.cargo"),
                ("CARGO_TARGET_DIR", "/elsewhere"),
                ("LD_LIBRARY_PATH", "/opt/mine"),
                ("RUST_BACKTRACE", "1"),
            ])
        );
    }

    #[test]
    fn a_toolchain_chosen_by_variable_stays() {
        let before = variables(&[
            ("CARGO", "/c"),
            ("CARGO_MANIFEST_DIR", "/m"),
            ("RUSTUP_TOOLCHAIN", "nightly"),
            ("RUSTUP_TOOLCHAIN_SOURCE", "env"),
            ("RUST_RECURSION_COUNT", "1"),
        ]);
        let after = without_cargo(before, Path::new("/bin/cohort"));
        assert_eq!(after, variables(&[("RUSTUP_TOOLCHAIN", "nightly")]));
    }

    #[test]
    fn outside_cargo_nothing_changes() {
        let before = variables(&[("RUSTUP_TOOLCHAIN", "stable"), ("LD_LIBRARY_PATH", "/bin")]);
        assert_eq!(
            without_cargo(before.clone(), Path::new("/bin/cohort")),
            before
        );
    }
}
