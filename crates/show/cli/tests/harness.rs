//! Programs that read bytes: `cohort run --fuzz` finds what breaks them, and each is an edge case that can be run again.

mod common;

use std::process::Command;

use common::Suite;

const PARSER: &str = r#"
#include <stdio.h>
#include <string.h>
int main(int count, char **arguments) {
    static char text[4096];
    FILE *file = fopen(arguments[1], "r");
    if (file == NULL) return 2;
    size_t length = fread(text, 1, sizeof text - 1, file);
    if (strncmp(text, "KEY=", 4) != 0) { fprintf(stderr, "no key\n"); return 1; }
    puts("key");
    if (length > 6 && text[4] == '[') *(volatile char *)0 = 1;
    return 0;
}
"#;

#[test]
fn an_input_that_ends_a_c_program_is_found_cut_and_run_again() {
    let suite = Suite::empty();
    suite.write("parse.c", PARSER);
    suite.write(
        "cohort.toml",
        "[fuzz]\nharness = \"./parse @@\"\nbuild = \"cc -g -o parse parse.c\"\ninput_timeout = \"2s\"\n",
    );
    let ended = suite.run(&["--fuzz", "4s", "--reproduce-for", "3s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("1 new bug"), "{ended:?}");
    let name = suite.read(".cohort/fuzz/list").trim().to_owned();
    let input = std::fs::read(suite.root().join(&name)).unwrap();
    assert!(input.starts_with(b"KEY=["), "{input:?}");
    assert_eq!(input.len(), 7, "{input:?}");
    let again = suite.cohort(&["repro", "EC-1", "--runs", "2"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("2 of 2"), "{again:?}");
    suite.assert_nothing_left(&ended);
}

/// Whether programs for an engine can be built and run here; it is said when not.
fn has(words: &[&str]) -> bool {
    let run = Command::new(words[0]).args(&words[1..]).output();
    let is_there = run.is_ok_and(|run| run.status.success());
    if !is_there {
        eprintln!("LEFT OUT: {} is not here", words.join(" "));
    }
    is_there
}

/// A word of two letters, none of which is told by what the program says.
const SILENT: &str = r#"
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
int LLVMFuzzerTestOneInput(const uint8_t *text, size_t length) {
    if (length > 2 && text[0] == 'w' && text[1] == 0xa7) abort();
    return 0;
}
#ifdef ALONE
#include <stdio.h>
int main(void) {
    static uint8_t text[4096];
    return LLVMFuzzerTestOneInput(text, fread(text, 1, sizeof text, stdin));
}
#endif
"#;

fn finds_the_word(engine: &str, build: &str) {
    let suite = Suite::empty();
    suite.write("silent.c", SILENT);
    suite.write(
        "cohort.toml",
        &format!("[fuzz]\nharness = \"./silent\"\nbuild = \"{build}\"\n"),
    );
    let ended = suite.run(&["--fuzz", "30s", "--reproduce-for", "3s"]);
    assert_eq!(ended.code, Some(1), "{engine}: {ended:?}");
    assert!(ended.stderr.contains("1 new bug"), "{engine}: {ended:?}");
    let said = format!("fuzzing silent ({engine}) on ");
    assert!(ended.stderr.contains(&said), "{ended:?}");
    let name = suite.read(".cohort/fuzz/list").trim().to_owned();
    let input = std::fs::read(suite.root().join(&name)).unwrap();
    assert!(input.starts_with(b"w\xa7"), "{engine}: {input:?}");
    assert_eq!(input.len(), 3, "{engine}: {input:?}");
    suite.assert_nothing_left(&ended);
}

#[test]
fn a_program_that_was_built_for_afl_is_run_by_that() {
    if has(&["sh", "-c", "command -v afl-fuzz && command -v afl-cc"]) {
        finds_the_word("AFL++", "afl-cc -DALONE -g -o silent silent.c");
    }
}

#[test]
fn a_program_with_libfuzzer_in_it_is_run_by_that() {
    let suite = Suite::empty();
    suite.write("silent.c", SILENT);
    let build = "clang -g -fsanitize=fuzzer -o silent silent.c";
    let at = suite.root().join("silent.c");
    let probe = at.to_str().unwrap();
    if has(&["clang", "-fsanitize=fuzzer", "-o", "/dev/null", probe]) {
        finds_the_word("libFuzzer", build);
    }
}

#[test]
fn a_harness_that_is_not_there_or_not_built_is_one_sentence() {
    let suite = Suite::empty();
    suite.write("cohort.toml", "[fuzz]\nharness = \"./absent @@\"\n");
    let ended = suite.run(&["--fuzz", "2s"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("the harness `./absent {input}` cannot be started"),
        "{ended:?}"
    );
    suite.write(
        "cohort.toml",
        "[fuzz]\nharness = \"./absent @@\"\nbuild = \"echo no luck >&2; exit 4\"\n",
    );
    let ended = suite.run(&["--fuzz", "2s"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended.stderr.contains("ended with exit code 4: no luck"),
        "{ended:?}"
    );
}

#[test]
fn nothing_that_breaks_is_no_failure() {
    let suite = Suite::empty();
    suite.write("cohort.toml", "[fuzz]\nharness = \"cat @@\"\n");
    let ended = suite.run(&["--fuzz", "1s"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("0 new bugs"), "{ended:?}");
}

#[test]
fn a_project_of_cargo_fuzz_without_its_tool_is_told_what_to_install() {
    let asked = Command::new("cargo")
        .args(["+nightly", "fuzz", "--version"])
        .output();
    let suite = Suite::empty();
    std::fs::create_dir_all(suite.root().join("fuzz/fuzz_targets")).unwrap();
    suite.write(
        "fuzz/Cargo.toml",
        "[package]\nname = \"x-fuzz\"\nversion = \"0.0.0\"\n[package.metadata]\ncargo-fuzz = true\n\
         [[bin]]\nname = \"parse\"\npath = \"fuzz_targets/parse.rs\"\n",
    );
    if asked.is_ok_and(|output| output.status.success()) {
        eprintln!("LEFT OUT: cargo-fuzz is here, so what is said without it cannot be seen");
        return;
    }
    let ended = suite.run(&["--fuzz", "1s"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended.stderr.contains("cargo install cargo-fuzz"),
        "{ended:?}"
    );
}
