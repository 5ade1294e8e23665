//! The sources of a script: its own file and all that it imports, read and looked through.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::api::globals::PRELUDE;
use crate::commonjs;
use crate::jslib;
use crate::refuse;
use crate::script::{LoadError, compile_alone, refused};

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Each module's source, by its name.
    pub(crate) modules: BTreeMap<String, String>,
    /// What stands in for those of them that are of CommonJS.
    pub(crate) commonjs: BTreeMap<String, String>,
}

/// Reads the entry and all that it imports; refuses what is not supported, in all of them at once.
pub(crate) fn read(folder: &Path, entry: &str) -> Result<Sources, LoadError> {
    let mut modules = BTreeMap::new();
    let mut of_commonjs = BTreeMap::new();
    let mut refusals = Vec::new();
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wanted = VecDeque::from([(entry.to_string(), "is the script".to_string())]);
    while let Some((name, wanted_by)) = wanted.pop_front() {
        if modules.contains_key(&name) {
            continue;
        }
        let mut source = match jslib::of_module(&name) {
            Some(library) => library.source.to_string(),
            None => read_file(folder.join(&name), wanted_by)?,
        };
        if let Some(without_mark) = source.strip_prefix('\u{feff}') {
            source = without_mark.to_string();
        }
        let looked = refuse::module(&name, &source);
        for (module, wanted) in &looked.names {
            let names = names.entry(module.clone()).or_default();
            names.extend(wanted.iter().cloned());
        }
        if looked.is_commonjs() {
            of_commonjs.insert(name.clone(), looked.required);
        } else if !looked.required.is_empty() {
            source.push_str(&commonjs::behind(&looked.required));
        }
        refusals.extend(looked.refusals);
        let imports = looked.imports.into_iter();
        wanted.extend(imports.map(|(module, at)| (module, format!("{at} imports"))));
        modules.insert(name, source);
    }
    // A syntax error is what to see first; what follows from it is confusing.
    if !refusals.is_empty() {
        let alone = modules.iter();
        compile_alone(alone.filter(|(name, _)| !of_commonjs.contains_key(*name)))?;
    }
    refused(refusals)?;
    let stand_in = |(name, required): (String, _)| {
        let wanted = names.get(&name).cloned().unwrap_or_default();
        let source = commonjs::stand_in(&name, &required, &wanted);
        (name, source)
    };
    let commonjs = of_commonjs.into_iter().map(stand_in).collect();
    Ok(Sources { modules, commonjs })
}

fn read_file(path: PathBuf, wanted_by: String) -> Result<String, LoadError> {
    std::fs::read_to_string(&path).map_err(|reason| LoadError::Read {
        path,
        wanted_by,
        reason,
    })
}

/// Name of the module that `name` means in the module `base`.
pub(crate) fn resolve(base: &str, name: &str) -> Result<String, String> {
    if let Some(library) = jslib::of_url(name) {
        return Ok(library.module());
    }
    let name = name.strip_prefix("file://").unwrap_or(name);
    if base.is_empty()
        || name == "k6"
        || name.starts_with("k6/")
        || name == PRELUDE
        || name.starts_with('/')
    {
        return Ok(name.into());
    }
    if name.starts_with("./") || name.starts_with("../") {
        return Ok(join(base, name));
    }
    Err(format!(
        "'{name}' is neither a module of k6 nor a local file: a local file begins with ./ or ../"
    ))
}

/// A path relative to the folder of a module.
pub(crate) fn join(module: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.into();
    }
    let folder = module.rsplit_once('/').map_or("", |(folder, _)| folder);
    let absolute = folder.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    let mut joined = String::new();
    if absolute {
        joined.push('/');
    }
    let _ = write!(joined, "{}", parts.join("/"));
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_modules() {
        for (base, name, expected) in [
            ("main.js", "./lib/a.js", "lib/a.js"),
            ("lib/a.js", "./b.js", "lib/b.js"),
            ("lib/a.js", "../b.js", "b.js"),
            ("main.js", "../x/../b.js", "../b.js"),
            ("../a.js", "../b.js", "../../b.js"),
            ("/abs/a.js", "./b.js", "/abs/b.js"),
            ("main.js", "k6/http", "k6/http"),
        ] {
            assert_eq!(resolve(base, name).as_deref(), Ok(expected));
        }
        assert!(resolve("main.js", "lodash").unwrap_err().contains("./"));
    }
}
