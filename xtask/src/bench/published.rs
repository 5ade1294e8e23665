//! Published suites: crates and PyPI source distributions that carry their tests. They come from
//! the registries through cargo and pip, pinned, into the target directory; nothing of them is kept
//! in the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::contender::Tools;
use super::suite::{Character, Language, Suite};
use crate::error::Error;
use crate::metadata::Metadata;
use crate::run;

/// One of them. Each was chosen by measurement; docs/benchmarks.md says what was seen.
pub(crate) struct Published {
    /// Its name in the registry.
    pub name: &'static str,
    /// Exactly this version.
    pub version: &'static str,
    /// Decides the registry and the command.
    pub language: Language,
    /// What it was measured to be.
    pub character: Character,
    /// Which part of it is run, for all contenders alike.
    args: &'static [&'static str],
    /// Folder from which Python imports.
    python_path: &'static str,
    /// What else its tests import.
    needs: &'static [&'static str],
}

/// All of them.
pub(crate) const PUBLISHED: [Published; 6] = [
    Published {
        name: "async-channel",
        version: "2.5.0",
        language: Language::Rust,
        character: Character::Waiting,
        args: &["--tests"],
        python_path: "",
        needs: &[],
    },
    Published {
        name: "just",
        version: "1.59.0",
        language: Language::Rust,
        character: Character::Computing,
        args: &["--tests"],
        python_path: "",
        needs: &[],
    },
    Published {
        name: "deadpool",
        version: "0.13.1",
        language: Language::Rust,
        character: Character::Dominant,
        args: &["--tests"],
        python_path: "",
        needs: &[],
    },
    Published {
        name: "pebble",
        version: "5.2.3",
        language: Language::Pytest,
        character: Character::Waiting,
        args: &[
            "test/test_thread_pool.py",
            "test/test_concurrent_thread.py",
            "test/test_process_pool_fork.py",
        ],
        python_path: "",
        needs: &[],
    },
    Published {
        name: "networkx",
        version: "3.6.1",
        language: Language::Pytest,
        character: Character::Computing,
        args: &[
            "networkx/algorithms/isomorphism",
            "networkx/algorithms/centrality",
            "networkx/algorithms/connectivity",
        ],
        python_path: "",
        needs: &["numpy", "scipy"],
    },
    Published {
        name: "more-itertools",
        version: "11.2.1",
        language: Language::Pytest,
        character: Character::Dominant,
        args: &["tests"],
        python_path: "",
        needs: &[],
    },
];

/// What all Python suites together need in one virtual environment.
pub(crate) fn python_packages() -> Vec<&'static str> {
    let mut packages = vec!["pytest", "pytest-xdist"];
    for needed in PUBLISHED.iter().flat_map(|suite| suite.needs) {
        if !packages.contains(needed) {
            packages.push(needed);
        }
    }
    packages
}

impl Published {
    /// Fetches, unpacks and builds it below the work folder; quick when that was done before.
    pub(crate) fn prepare(&self, tools: &Tools) -> Result<Suite, Error> {
        let dir = tools.work.join(format!("{}-{}", self.name, self.version));
        let suite = Suite {
            name: self.name.into(),
            language: self.language,
            character: self.character,
            dir: dir.clone(),
            args: self.args.iter().map(|arg| (*arg).to_string()).collect(),
            tests: 0,
            python_path: self.python_path.into(),
        };
        if !dir.exists() {
            // Unpacked beside and renamed, so that a half one is never taken for whole.
            let part = tools.work.join("unpacking");
            run::remove_dir(&part)?;
            match self.language {
                Language::Rust => self.fetch_crate(tools, &suite, &part)?,
                Language::Pytest => self.fetch_distribution(tools, &suite, &part)?,
            }
            let failed = |source| Error::File {
                path: dir.clone(),
                action: "moved into place",
                source,
            };
            std::fs::rename(&part, &dir).map_err(failed)?;
        }
        if self.language == Language::Rust {
            build(&suite, tools)?;
        }
        Ok(suite)
    }

    /// A throw-away project that depends on the crate makes cargo fetch it; it is copied from
    /// where cargo keeps it.
    fn fetch_crate(&self, tools: &Tools, suite: &Suite, to: &Path) -> Result<(), Error> {
        let project = tools.work.join("fetch").join(self.name);
        let manifest = format!(
            "[package]\nname = \"fetch\"\nedition = \"2021\"\n[workspace]\n[dependencies]\n\
             {} = {{ version = \"={}\", default-features = false }}\n",
            self.name, self.version
        );
        run::write(&project.join("Cargo.toml"), &manifest)?;
        run::write(&project.join("src/lib.rs"), "")?;
        let mut command = Command::new("cargo");
        command
            .args(["metadata", "--format-version", "1"])
            .current_dir(&project);
        tools.clean_environment(&mut command, suite);
        let metadata: Metadata =
            serde_json::from_str(&run::output(&mut command)?).map_err(Error::Metadata)?;
        let found = metadata
            .packages
            .iter()
            .find(|p| p.name == self.name && p.version == self.version);
        let source = found
            .and_then(|package| package.manifest_path.parent())
            .ok_or_else(|| Error::NoResults {
                runner: "cargo metadata".into(),
                suite: self.name.into(),
                why: "it does not list the crate".into(),
                log: project.join("Cargo.toml"),
            })?;
        copy_dir(source, to)?;
        // The toolchain that is there is used, whichever one the crate's authors pin for themselves.
        for pin in ["rust-toolchain", "rust-toolchain.toml"] {
            if to.join(pin).exists() {
                let failed = |source| Error::File {
                    path: to.join(pin),
                    action: "removed",
                    source,
                };
                std::fs::remove_file(to.join(pin)).map_err(failed)?;
            }
        }
        // Outside of any workspace, whatever lies above the target directory.
        let manifest = to.join("Cargo.toml");
        let text = run::read(&manifest)?;
        if !text.lines().any(|line| line.trim() == "[workspace]") {
            run::write(&manifest, &format!("{text}\n[workspace]\n"))?;
        }
        Ok(())
    }

    fn fetch_distribution(&self, tools: &Tools, suite: &Suite, to: &Path) -> Result<(), Error> {
        let archives = tools.work.join("fetch").join(self.name);
        run::remove_dir(&archives)?;
        run::make_dir(&archives)?;
        run::make_dir(to)?;
        let wanted = format!("{}=={}", self.name, self.version);
        let mut pip = Command::new("python");
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            ":all:",
            "--dest",
        ]);
        tools.clean_environment(pip.arg(&archives).arg(wanted), suite);
        run::output(&mut pip)?;
        let failed = |source| Error::File {
            path: archives.clone(),
            action: "read",
            source,
        };
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(&archives).map_err(failed)? {
            files.push(entry.map_err(failed)?.path());
        }
        for file in files {
            let mut tar = Command::new("tar");
            tar.args(["--extract", "--strip-components=1", "--directory"])
                .arg(to);
            run::output(tar.arg("--file").arg(file))?;
        }
        Ok(())
    }
}

/// Builds the test binaries, so that no contender's time has the compiler in it.
pub(crate) fn build(suite: &Suite, tools: &Tools) -> Result<(), Error> {
    let mut command = Command::new("cargo");
    command.args(["test", "--no-run", "--quiet"]);
    // What follows `--` are filters for the tests.
    command
        .args(suite.args.iter().take_while(|arg| *arg != "--"))
        .current_dir(&suite.dir);
    tools.clean_environment(&mut command, suite);
    run::output(&mut command).map(drop)
}

fn copy_dir(from: &Path, to: &Path) -> Result<(), Error> {
    run::make_dir(to)?;
    let failed = |source| Error::File {
        path: from.to_path_buf(),
        action: "copied",
        source,
    };
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(failed)?.is_dir() {
            copy_dir(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).map_err(failed)?;
        }
    }
    Ok(())
}
