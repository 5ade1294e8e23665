//! Variables of the environment that a failing test may need.

use cohort_workload::environment;

/// More are not tried.
const VARIABLES_MAX: usize = 64;
/// Every program has them, or a shell sets them for itself.
const EVERYWHERE: [&str; 14] = [
    "PATH",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "TERM",
    "COLORTERM",
    "SHELL",
    "USER",
    "LOGNAME",
    "HOSTNAME",
    "TMPDIR",
    "MAIL",
    "LS_COLORS",
];
/// Without what begins so a program would not start, or would be another one.
const NEEDED: [&str; 13] = [
    "LD_",
    "PYTHON",
    "VIRTUAL_ENV",
    "CONDA",
    "CARGO",
    "RUST",
    "COHORT_",
    "LLVM_",
    "GCOV",
    "SSH_",
    "DBUS_",
    "NODE_",
    "JAVA_",
];

/// Their names, in order.
pub(crate) fn variables() -> Vec<String> {
    let names = environment::own().into_keys();
    let names = names.filter_map(|name| name.into_string().ok());
    names
        .filter(|name| may_matter(name))
        .take(VARIABLES_MAX)
        .collect()
}

fn may_matter(name: &str) -> bool {
    let usual = EVERYWHERE.contains(&name) || NEEDED.iter().any(|start| name.starts_with(start));
    !usual && !name.is_empty() && !name.contains('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_needs_to_start_is_no_suspect() {
        for name in ["HOME", "LANG", "TZ", "CI", "HTTP_PROXY", "DEBUG", "LC_ALL"] {
            assert!(may_matter(name), "{name}");
        }
        for name in [
            "PATH",
            "PYTHONPATH",
            "LD_LIBRARY_PATH",
            "CARGO_HOME",
            "TMPDIR",
            "",
        ] {
            assert!(!may_matter(name), "{name}");
        }
    }
}
