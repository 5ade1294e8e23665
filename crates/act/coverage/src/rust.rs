//! Building Rust with instrumentation, beside the user's own build.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::Error;

/// Stands before the compiler for the crates of the workspace, and only these: dependencies run at full speed,
/// and flags of the user's configuration stay in force. What runs while building is left as it is.
const WRAPPER: &str = r#"#!/bin/sh
case " $* " in
*" --crate-name build_script_"* | *" --crate-type proc-macro "*) exec "$@" ;;
*) exec "$@" -C instrument-coverage -C llvm-args=-runtime-counter-relocation ;;
esac
"#;

/// What to set for cargo so that it builds with instrumentation into `target`, which is best used for nothing
/// else; it is made if it is not there.
///
/// # Errors
/// The folder or the wrapper of the compiler cannot be written.
pub fn rust_build(target: &Path) -> Result<Vec<(String, OsString)>, Error> {
    fs::create_dir_all(target).map_err(Error::file(target))?;
    let target = fs::canonicalize(target).map_err(Error::file(target))?;
    let wrapper = target.join("instrument.sh");
    // Written only when it differs: cargo builds anew when a wrapper is younger than what it built.
    if fs::read(&wrapper).ok().as_deref() != Some(WRAPPER.as_bytes()) {
        let fresh = target.join(format!("instrument.sh.{}", std::process::id()));
        fs::write(&fresh, WRAPPER).map_err(Error::file(&fresh))?;
        let permissions = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&fresh, permissions).map_err(Error::file(&fresh))?;
        fs::rename(&fresh, &wrapper).map_err(Error::file(&wrapper))?;
    }
    Ok(vec![
        ("CARGO_TARGET_DIR".into(), target.into()),
        ("RUSTC_WORKSPACE_WRAPPER".into(), wrapper.into()),
    ])
}
