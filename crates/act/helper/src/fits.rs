//! Whether a helper can be had here.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::Manifest;

/// What a helper needs and this host lacks, a sentence each. `path` is a `PATH` along which programs are looked up.
#[must_use]
pub fn missing(manifest: &Manifest, path: &OsStr) -> Vec<String> {
    let programs = manifest.needs.iter();
    programs
        .filter(|program| !std::env::split_paths(path).any(|it| is_program(&it.join(program))))
        .map(|program| {
            let how = manifest.install.get(program);
            let how = how.map_or_else(String::new, |how| format!(" (get it: {how})"));
            format!("{program} is not installed, or not along PATH{how}")
        })
        .collect()
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}
