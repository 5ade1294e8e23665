//! What runs a program.

use std::path::Path;

use serde::Deserialize;

/// What runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// Itself: it was compiled.
    Native,
    /// `CPython`.
    Python,
    /// Node.
    Node,
    /// A Java virtual machine.
    Java,
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Native => "compiled programs",
            Self::Python => "Python",
            Self::Node => "Node",
            Self::Java => "Java",
        })
    }
}

impl Runtime {
    /// What runs a process, by the program that it is; `None` when it is gone.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        Some(Self::of_program(&program))
    }

    /// By the name of a program.
    #[must_use]
    pub fn of_program(program: &Path) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        match &*name {
            "node" | "nodejs" => Self::Node,
            "java" => Self::Java,
            name if name.starts_with("python") => Self::Python,
            _ => Self::Native,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_names() {
        let of = |name| Runtime::of_program(Path::new(name));
        assert_eq!(of("/usr/bin/python3.11"), Runtime::Python);
        assert_eq!(of("/opt/node/bin/node"), Runtime::Node);
        assert_eq!(of("/app/target/release/shop"), Runtime::Native);
        assert_eq!(
            Runtime::of(std::process::id().cast_signed()),
            Some(Runtime::Native)
        );
    }
}
