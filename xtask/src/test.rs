//! `cargo xtask test`: the tests of the workspace, with what only they need.
//!
//! Where the host has control groups of version 1, or is not to be touched, a virtual machine has those
//! of version 2 ([`vm`]). The pytest adapter is tested on real pytest: a virtual environment below the target directory,
//! made once and made anew when the list of packages changes. Where that cannot be made, its tests
//! are left out, and it is said why.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::error::Error;
use crate::{run, vm};

/// What only tests need from PyPI.
const PACKAGES: [&str; 4] = ["pytest", "pytest-cov", "pytest-xdist", "py-spy"];

/// Names the Python that has [`PACKAGES`], to the tests.
const PYTHON_VARIABLE: &str = "COHORT_TEST_PYTHON";

/// Runs `cargo test --workspace ARGS` and gives its exit code; without ARGS, then the tests of control
/// groups in a virtual machine. Closes with the sum of all closing lines, `N passed, N failed`.
pub(crate) fn test(args: &[&str]) -> Result<ExitCode, Error> {
    let mut command = run::cargo();
    command
        .args(["test", "--workspace"])
        .args(args)
        .stdout(Stdio::piped());
    let mut left_out = Vec::new();
    match environment(&run::target_dir().join("test-python"), &PACKAGES) {
        Ok(python) => {
            command.env(PYTHON_VARIABLE, python);
        }
        Err(error) => {
            command.env_remove(PYTHON_VARIABLE);
            left_out.push(format!(
                "left out: tests of the pytest adapter on real pytest, since {error}"
            ));
        }
    }
    let failed = |source| Error::Start {
        program: "cargo test".into(),
        source,
    };
    let mut child = command.spawn().map_err(failed)?;
    let mut sum = Sum::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.map_err(failed)?;
            sum.see(&String::from_utf8_lossy(&line));
        }
    }
    let status = child.wait().map_err(failed)?;
    if args.is_empty() && status.success() {
        left_out.extend(in_machine(&mut sum));
    }
    for left_out in &left_out {
        println!("{left_out}");
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    if status.success() && sum.failed > 0 {
        return Ok(ExitCode::FAILURE);
    }
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs the tests of control groups in a virtual machine; what is left out is a failure here.
pub(crate) fn test_vm() -> Result<ExitCode, Error> {
    let mut sum = Sum::default();
    let left_out = in_machine(&mut sum);
    if let Some(left_out) = &left_out {
        println!("{left_out}");
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    let good = left_out.is_none() && sum.failed == 0 && sum.passed > 0;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What had to be left out of it.
fn in_machine(sum: &mut Sum) -> Option<String> {
    let before = sum.passed + sum.failed;
    let why = match vm::test(|line| sum.see(line)) {
        Err(why) => why,
        Ok(_) if sum.passed + sum.failed == before => {
            "no test ran in the machine; it does not see what lies below /tmp".to_owned()
        }
        Ok(_) => return None,
    };
    let what = "tests of control groups on a kernel with version 2 only";
    Some(format!("left out: {what}, since {why}"))
}

/// Over the closing lines of all test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
}

impl Sum {
    /// Passes a line on, and adds it up.
    fn see(&mut self, line: &str) {
        self.add(line);
        // A reader that went away must not stop the tests.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    /// `test result: ok. 3 passed; 0 failed; 0 ignored; ...`
    fn add(&mut self, line: &str) {
        let Some(counts) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        let count = |what: &str| {
            let words: Vec<&str> = counts.split([' ', ';']).filter(|w| !w.is_empty()).collect();
            let at = words.iter().position(|word| *word == what);
            at.and_then(|at| words.get(at.checked_sub(1)?)?.parse::<u64>().ok())
                .unwrap_or(0)
        };
        self.passed += count("passed");
        self.failed += count("failed");
    }
}

/// Makes the virtual environment in `folder` with `packages`, or finds that it is there already.
/// Gives its Python.
pub(crate) fn environment(folder: &Path, packages: &[&str]) -> Result<PathBuf, Error> {
    let python = folder.join("bin/python");
    let stamp = folder.join("packages");
    let wanted = packages.join("\n");
    if run::exists(&python) && std::fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(python);
    }
    eprintln!(
        "installing {} into {}",
        packages.join(", "),
        folder.display()
    );
    run::remove_dir(folder)?;
    let made = run::output(Command::new("python3").args(["-m", "venv"]).arg(folder));
    if made.is_ok() {
        run::output(Command::new(&python).args(PIP).args(packages))?;
    } else {
        // Debian keeps ensurepip in a package of its own; the pip outside can stand in for it.
        run::output(
            Command::new("python3")
                .args(["-m", "venv", "--clear", "--without-pip"])
                .arg(folder),
        )?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "--python"])
            .arg(&python)
            .args(&PIP[2..]);
        run::output(pip.args(packages))?;
    }
    run::write(&stamp, &wanted)?;
    Ok(python)
}

const PIP: [&str; 5] = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_summed() {
        let mut sum = Sum::default();
        sum.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        sum.add("test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out");
        sum.add("test result_of_parsing ... ok");
        assert_eq!(
            sum,
            Sum {
                passed: 5,
                failed: 4
            }
        );
    }
}
