//! Lock files of package managers, read into what they lock.

use serde_json::Value;

/// A package as it is locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Locked {
    pub(crate) ecosystem: &'static str,
    pub(crate) name: String,
    pub(crate) version: String,
}

pub(crate) type Reader = fn(&str) -> Result<Vec<Locked>, String>;

/// What reads a file of this name; none: it is no lock file.
pub(crate) fn reader(name: &str) -> Option<Reader> {
    match name {
        "Cargo.lock" => Some(|text| of_toml("crates.io", text)),
        "poetry.lock" | "uv.lock" => Some(|text| of_toml("PyPI", text)),
        "package-lock.json" | "npm-shrinkwrap.json" => Some(of_npm),
        "Pipfile.lock" => Some(of_pipfile),
        "yarn.lock" => Some(of_yarn),
        "pnpm-lock.yaml" => Some(of_pnpm),
        "go.mod" => Some(of_go),
        "composer.lock" => Some(of_composer),
        "Gemfile.lock" => Some(of_gemfile),
        name if name.starts_with("requirements") && name.ends_with(".txt") => Some(of_requirements),
        _ => None,
    }
}

/// `[[package]]` with a name and a version, as Cargo, Poetry and uv have it.
fn of_toml(ecosystem: &'static str, text: &str) -> Result<Vec<Locked>, String> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.message().to_owned())?;
    let packages = table.get("package").and_then(toml::Value::as_array);
    let packages = packages.into_iter().flatten();
    Ok(packages
        .filter_map(|package| {
            let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
            Some(Locked {
                ecosystem,
                name: text("name")?.to_owned(),
                version: text("version")?.to_owned(),
            })
        })
        .collect())
}

/// `packages` by their paths (versions 2 and 3), or `dependencies` within one another (version 1).
fn of_npm(text: &str) -> Result<Vec<Locked>, String> {
    let lock: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    let one = |name: &str, package: &Value| {
        Some(Locked {
            ecosystem: "npm",
            name: name.to_owned(),
            version: package.get("version")?.as_str()?.to_owned(),
        })
    };
    if let Some(packages) = lock.get("packages").and_then(Value::as_object) {
        for (path, package) in packages {
            if let Some((_, name)) = path.rsplit_once("node_modules/") {
                let name = package.get("name").and_then(Value::as_str).unwrap_or(name);
                all.extend(one(name, package));
            }
        }
        return Ok(all);
    }
    let mut open = vec![&lock];
    while let Some(value) = open.pop() {
        let within = value.get("dependencies").and_then(Value::as_object);
        for (name, package) in within.into_iter().flatten() {
            all.extend(one(name, package));
            open.push(package);
        }
    }
    Ok(all)
}

fn of_pipfile(text: &str) -> Result<Vec<Locked>, String> {
    let lock: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let groups = ["default", "develop"].into_iter();
    let packages = groups
        .filter_map(|group| lock.get(group)?.as_object())
        .flatten();
    Ok(packages
        .filter_map(|(name, package)| {
            let version = package.get("version")?.as_str()?;
            Some(python(name, version.trim_start_matches("==")))
        })
        .collect())
}

/// Only what is pinned tells a version: `name==1.2.3`, perhaps with `[extras]`, hashes, markers.
fn of_requirements(text: &str) -> Result<Vec<Locked>, String> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    Ok(lines
        .filter_map(|line| {
            let (name, rest) = line.split_once("==")?;
            let name = name.split('[').next()?.trim();
            let version = rest.trim_start_matches('=').split([';', ' ', '\\', ',']);
            let version = version.into_iter().find(|it| !it.is_empty())?;
            (!name.is_empty() && !version.contains('*')).then(|| python(name, version.trim()))
        })
        .collect())
}

fn python(name: &str, version: &str) -> Locked {
    Locked {
        ecosystem: "PyPI",
        name: name.to_owned(),
        version: version.to_owned(),
    }
}

/// Of Yarn, which has a format of its own (version 1) or writes YAML: `"a@^1", "a@^1.2":` with `version "1.3"` or `version: 1.3` in it.
fn of_yarn(text: &str) -> Result<Vec<Locked>, String> {
    let mut open = false;
    let mut all: Vec<Locked> = Vec::new();
    for line in text.lines() {
        if !line.starts_with([' ', '#']) && line.ends_with(':') {
            let first = line.trim_end_matches(':').split(", ").next();
            let first = first.unwrap_or_default().trim_matches('"');
            // What is of the project itself has no version.
            let own = first.contains("@workspace:");
            let name = first.find("@npm:").or_else(|| first.rfind('@'));
            let name = name.filter(|at| *at > 0 && !own);
            all.extend(name.map(|at| npm(&first[..at], "")));
            open = name.is_some();
            continue;
        }
        let version = line.trim().strip_prefix("version");
        let version = version.map(|rest| rest.trim_start_matches([':', ' ']).trim_matches('"'));
        if let (Some(version), true, Some(last)) = (version, open, all.last_mut()) {
            version.clone_into(&mut last.version);
            open = false;
        }
    }
    all.retain(|one| !one.version.is_empty());
    Ok(all)
}

/// The keys of `packages:`: `/a/1.2.3_peer:`, `/a@1.2.3(peer):` or `a@1.2.3(peer):`, by its version.
fn of_pnpm(text: &str) -> Result<Vec<Locked>, String> {
    let lines = text
        .lines()
        .skip_while(|line| line.trim_end() != "packages:");
    let within = lines
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with(' '));
    let keys = within.filter_map(|line| {
        let key = line.strip_prefix("  ")?.split(": ").next()?.trim_end();
        let key = key.trim_end_matches(':').trim_matches('\'');
        (!line.starts_with("   ")).then_some(key)
    });
    Ok(keys
        .filter_map(|key| {
            let key = key.trim_start_matches('/').split('(').next()?;
            let old = key.rsplit_once('/').and_then(|(name, rest)| {
                let version = rest.split('_').next()?;
                let is_version = version.starts_with(|it: char| it.is_ascii_digit());
                (is_version && !version.contains('@')).then_some((name, version))
            });
            let (name, version) = match old {
                Some(old) => old,
                None => key.rsplit_once('@').filter(|(name, _)| !name.is_empty())?,
            };
            Some(npm(name, version))
        })
        .collect())
}

/// What a module requires, itself or by others: `require a/b v1.2.3`, alone or in parentheses.
fn of_go(text: &str) -> Result<Vec<Locked>, String> {
    let mut within = false;
    let mut all = Vec::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let line = match line.strip_prefix("require") {
            Some(rest) if rest.trim() == "(" => {
                within = true;
                continue;
            }
            Some(rest) => rest,
            None if line == ")" => {
                within = false;
                continue;
            }
            None if within => line,
            None => continue,
        };
        if let Some((name, version)) = line.trim().split_once(' ') {
            all.push(Locked {
                ecosystem: "Go",
                name: name.to_owned(),
                version: version.trim().trim_start_matches('v').to_owned(),
            });
        }
    }
    Ok(all)
}

/// `packages` and `packages-dev` of Composer.
fn of_composer(text: &str) -> Result<Vec<Locked>, String> {
    let lock: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let groups = ["packages", "packages-dev"].into_iter();
    let packages = groups.filter_map(|group| lock.get(group)?.as_array());
    Ok(packages
        .flatten()
        .filter_map(|package| {
            let text = |key: &str| package.get(key).and_then(Value::as_str);
            Some(Locked {
                ecosystem: "Packagist",
                name: text("name")?.to_owned(),
                version: text("version")?.trim_start_matches('v').to_owned(),
            })
        })
        .collect())
}

/// `    name (1.2.3)` of Bundler; what such a package needs stands below it, further in.
fn of_gemfile(text: &str) -> Result<Vec<Locked>, String> {
    let specs = text.lines().filter_map(|line| {
        let line = line
            .strip_prefix("    ")
            .filter(|it| !it.starts_with(' '))?;
        let (name, rest) = line.split_once(" (")?;
        let version = rest.strip_suffix(')')?;
        // One that was built for a platform is named by it: `1.15.0-x86_64-linux`.
        Some((name, version.split('-').next()?))
    });
    Ok(specs
        .map(|(name, version)| Locked {
            ecosystem: "RubyGems",
            name: name.to_owned(),
            version: version.to_owned(),
        })
        .collect())
}

fn npm(name: &str, version: &str) -> Locked {
    Locked {
        ecosystem: "npm",
        name: name.to_owned(),
        version: version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(read: Result<Vec<Locked>, String>) -> Vec<String> {
        let all = read.expect("a lock file").into_iter();
        all.map(|it| format!("{} {}", it.name, it.version))
            .collect()
    }

    #[test]
    fn lock_files_of_each_kind_are_read() {
        let cargo = "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n";
        assert_eq!(names(of_toml("crates.io", cargo)), ["a 1.0.0"]);
        let new = r#"{"packages":{"":{"version":"9"},"node_modules/a":{"version":"1"},"node_modules/a/node_modules/@b/c":{"version":"2"}}}"#;
        assert_eq!(names(of_npm(new)), ["a 1", "@b/c 2"]);
        let old = r#"{"dependencies":{"a":{"version":"1","dependencies":{"b":{"version":"2"}}}}}"#;
        assert_eq!(names(of_npm(old)), ["a 1", "b 2"]);
        let pins = "# all\nDjango[argon2]==3.2.1 ; python_version > '3'\nflask>=2\nx==1.* \ny == 2 \\\n  --hash=sha256:aa\n";
        assert_eq!(names(of_requirements(pins)), ["Django 3.2.1", "y 2"]);
        let pipfile = r#"{"default":{"a":{"version":"==1.0"}}}"#;
        assert_eq!(names(of_pipfile(pipfile)), ["a 1.0"]);
    }

    #[test]
    fn those_of_node_go_php_and_ruby_too() {
        let yarn = "# yarn lockfile v1\n\n\"@a/b@^1.0.0\", \"@a/b@^1.2.0\":\n  version \"1.3.0\"\n  dependencies:\n    c \"^2.0.0\"\n\nc@^2.0.0:\n  version \"2.1.0\"\n";
        assert_eq!(names(of_yarn(yarn)), ["@a/b 1.3.0", "c 2.1.0"]);
        let berry = "__metadata:\n  version: 6\n\n\"@a/b@npm:^1.0.0\":\n  version: 1.3.0\n  resolution: \"@a/b@npm:1.3.0\"\n\n\"shop@workspace:.\":\n  version: 0.0.0-use.local\n";
        assert_eq!(names(of_yarn(berry)), ["@a/b 1.3.0"]);
        let old = "lockfileVersion: 5.4\n\npackages:\n\n  /@a/b/1.3.0_c@2.0.0:\n    resolution: {integrity: x}\n  /c/2.0.0:\n    dev: true\n";
        assert_eq!(names(of_pnpm(old)), ["@a/b 1.3.0", "c 2.0.0"]);
        let new = "packages:\n\n  '@a/b@1.3.0':\n    resolution: {integrity: x}\n\n  c@2.0.0(d@1.0.0):\n    resolution: {}\n\nsnapshots:\n\n  e@1.0.0: {}\n";
        assert_eq!(names(of_pnpm(new)), ["@a/b 1.3.0", "c 2.0.0"]);
        let go = "module shop\n\ngo 1.22\n\nrequire a.org/b v1.2.3\nrequire (\n\tc.org/d/v2 v2.0.1 // indirect\n)\nreplace e => ../e\n";
        assert_eq!(names(of_go(go)), ["a.org/b 1.2.3", "c.org/d/v2 2.0.1"]);
        let php = r#"{"packages":[{"name":"a/b","version":"v1.2.3"}],"packages-dev":[{"name":"c/d","version":"2"}]}"#;
        assert_eq!(names(of_composer(php)), ["a/b 1.2.3", "c/d 2"]);
        let ruby = "GEM\n  remote: https://rubygems.org/\n  specs:\n    a (1.2.3)\n      b (>= 2)\n    b (2.0.0-x86_64-linux)\n\nDEPENDENCIES\n  a\n";
        assert_eq!(names(of_gemfile(ruby)), ["a 1.2.3", "b 2.0.0"]);
    }
}
