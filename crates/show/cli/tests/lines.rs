//! Where the mistake is, told of real cargo suites: their test programs are built anew for it, beside the user's own
//! build.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use common::Suite;
use serde_json::Value;

const MANIFEST: &str =
    "[package]\nname = 'sample'\nversion = '0.1.0'\nedition = '2021'\n[workspace]\n";
const PRICE: &str = "\
pub fn price(grams: u32) -> u32 {
    let mut price = 100;
    if grams > 1_000 {
        price += heavy(grams);
    }
    if grams == 0 {
        price = 0;
    }
    price
}

fn heavy(grams: u32) -> u32 {
    let started = (grams - 1_000) / 500 + 1;
    started * 20
}

#[cfg(test)]
mod tests {
    use super::price;

    #[test]
    fn a_letter() {
        assert_eq!(price(20), 100);
    }

    #[test]
    fn nothing() {
        assert_eq!(price(0), 0);
    }

    #[test]
    fn another_letter() {
        assert_eq!(price(1_000), 100);
    }

    #[test]
    fn a_full_step() {
        assert_eq!(price(1_500), 120);
    }
}
";
const MISTAKE: u64 = 13;

fn sample() -> Suite {
    let suite = Suite::empty();
    suite.write("Cargo.toml", MANIFEST);
    fs::create_dir(suite.root().join("src")).unwrap();
    suite.write("src/lib.rs", PRICE);
    suite
}

/// Every file of the user's own build, and when it was written.
fn build(suite: &Suite) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    let mut folders = vec![suite.root().join("target/debug")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path(), meta.modified().unwrap());
            }
        }
    }
    found
}

fn cargo_test(suite: &Suite, directory: &Path) {
    let built = Command::new("cargo")
        .args(["test", "--no-run", "--offline"])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?} {:?}", suite.root());
}

/// The page of the case of a campaign of its tests, which fails.
fn tried(suite: &Suite) -> Value {
    let command = ["cargo", "test", "--lib", "--offline"];
    let ended = suite.run(&[&["--reproduce-for", "100s", "--"][..], &command].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    shown(suite)
}

fn shown(suite: &Suite) -> Value {
    let ended = suite.cohort(&["show", "EC-1", "--json"]);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn the_mistake_and_its_function_are_told_and_the_users_build_stays_as_it_is() {
    let suite = sample();
    cargo_test(&suite, &suite.root());
    let before = build(&suite);
    let page = tried(&suite);
    assert_eq!(page["suspects_of"], "runs", "{page:#}");
    let lines = page["suspects"].as_array().unwrap();
    let place = lines.iter().position(|line| line["line"] == MISTAKE);
    assert!(place.is_some_and(|place| place < 5), "{page:#}");
    let function = &page["functions"][0];
    assert_eq!(function["name"], "sample::heavy", "{page:#}");
    let source = function["source"].as_array().unwrap();
    let marked = source.iter().find(|line| line["line"] == MISTAKE).unwrap();
    assert_eq!(marked["suspicious"], true, "{page:#}");
    assert!(marked["source"].as_str().unwrap().contains("let started"));
    assert_eq!(build(&suite), before);
    assert!(suite.root().join("target/cohort-coverage").is_dir());
    let strays = fs::read_dir(suite.root()).unwrap().flatten();
    let strays: Vec<PathBuf> = strays
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "profraw")
        })
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[test]
fn a_build_that_fails_is_one_line_and_the_backtrace_tells_what_it_can() {
    let suite = sample();
    let script = "fn main() { if std::env::var_os(\"RUSTC_WORKSPACE_WRAPPER\").is_some() { panic!(\"not with a wrapper\") } }\n";
    suite.write("build.rs", script);
    let panics = PRICE.replace("(grams - 1_000) / 500 + 1", "(grams - 1_000) / 500 - 5");
    suite.write("src/lib.rs", &panics);
    let page = tried(&suite);
    let remarks = page["remarks"].as_array().unwrap();
    let told = remarks.iter().filter_map(Value::as_str);
    let told: Vec<&str> = told
        .filter(|remark| remark.starts_with("Suspicious lines are not known"))
        .collect();
    assert!(
        matches!(told[..], [one] if one.contains("failed: error")),
        "{page:#}"
    );
    assert_eq!(page["case"]["verdict"], "always", "{page:#}");
    assert_eq!(page["suspects_of"], "backtrace", "{page:#}");
    assert_eq!(page["suspects"][0]["line"], MISTAKE, "{page:#}");
}

#[test]
fn what_the_users_build_made_of_dependencies_is_taken_over() {
    let suite = Suite::empty();
    for (name, manifest, code) in [
        (
            "app",
            "[package]\nname = 'app'\nversion = '0.1.0'\nedition = '2021'\n[workspace]\n[dependencies]\ndep = { path = '../dep' }\n",
            "#[cfg(test)] mod tests { #[test] fn adds() { assert_eq!(dep::two() + 1, 4); }\n #[test] fn is_two() { assert_eq!(dep::two(), 2); } }\n",
        ),
        (
            "dep",
            "[package]\nname = 'dep'\nversion = '0.1.0'\nedition = '2021'\n[workspace]\n",
            "pub fn two() -> u32 { 2 }\n",
        ),
    ] {
        fs::create_dir_all(suite.root().join(name).join("src")).unwrap();
        suite.write(&format!("{name}/Cargo.toml"), manifest);
        suite.write(&format!("{name}/src/lib.rs"), code);
    }
    let app = suite.root().join("app");
    cargo_test(&suite, &app);
    let words = [
        "-C",
        "app",
        "--reproduce-for",
        "100s",
        "--",
        "cargo",
        "test",
        "--lib",
        "--offline",
    ];
    let ended = suite.run(&words);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let library = |folder: &str| {
        let deps = app.join("target").join(folder).join("deps");
        let all = fs::read_dir(&deps).unwrap().flatten();
        let mut all = all.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("libdep-") && name.ends_with(".rlib")
        });
        use std::os::unix::fs::MetadataExt;
        let first = all.next().unwrap_or_else(|| panic!("{deps:?}: {ended:?}"));
        (first.metadata().unwrap().ino(), all.count())
    };
    // The same file: it was not compiled again.
    assert_eq!(library("cohort-coverage/debug"), library("debug"));
}
