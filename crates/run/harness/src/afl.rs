//! AFL++ as an engine: how it is started, and what it left.
//!
//! <https://aflplus.plus/docs/fuzzing_in_depth/>: instances of one target have a directory in common, below which each has its own
//! (`queue/`, `crashes/`, `hangs/`, `fuzzer_stats`); the first is the main one.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::supervise::files;
use crate::target::{AFL_FUZZ, has_mark};
use crate::work::{Plan, name};

/// A function that every program with AddressSanitizer in it has.
const SANITIZER_MARK: &[u8] = b"__asan_init";

/// One instance of it.
#[derive(Debug)]
pub(crate) struct Afl {
    /// What the instances of its target have in common.
    out: PathBuf,
    id: String,
    shared: PathBuf,
    /// What was taken over.
    taken: HashSet<PathBuf>,
}

impl Afl {
    pub(crate) fn new(plan: &Plan) -> Self {
        let beside = plan.scratch.parent().unwrap_or(&plan.scratch);
        let id = plan.scratch.file_name().unwrap_or_default();
        Self {
            out: beside.join(format!("afl-{}", plan.target.name)),
            id: id.to_string_lossy().into_owned(),
            shared: plan.shared.clone(),
            taken: HashSet::new(),
        }
    }

    /// The command, with the inputs that it begins with; `grouped`: it is in a control group that limits memory.
    pub(crate) fn command(&self, plan: &Plan, grouped: bool) -> io::Result<Command> {
        let target = &plan.target;
        let first = plan.scratch.with_extension("in");
        fs::create_dir_all(&first)?;
        let mut seeds = files(&self.shared.join("corpus"));
        for seed in &target.seeds {
            match seed.is_dir() {
                true => seeds.extend(files(seed)),
                false => seeds.push(seed.clone()),
            }
        }
        for seed in seeds {
            let input = fs::read(&seed)?;
            // It takes none that is empty.
            if !input.is_empty() {
                fs::write(first.join(name(&input)), input)?;
            }
        }
        if files(&first).is_empty() {
            fs::write(first.join("first"), "0")?;
        }
        let mut command = Command::new(AFL_FUZZ);
        command.arg("-i").arg(&first).arg("-o").arg(&self.out);
        // One of those that share a directory is to be the main one.
        let is_main = !self.out.exists();
        fs::create_dir_all(&self.out)?;
        command.arg(if is_main { "-M" } else { "-S" }).arg(&self.id);
        command
            .args(["-V", &plan.time_ms.div_ceil(1000).max(1).to_string()])
            .args(["-t", &plan.limits.time_ms.to_string()])
            .args(["-G", &plan.longest.to_string()])
            .args(["-s", &(plan.seed as u32).to_string()])
            .arg("-m");
        // What a sanitizer reserves is no use of memory, but counts where no group does.
        match grouped || has_mark(&target.program(), SANITIZER_MARK) {
            true => command.arg("none"),
            false => command.arg((plan.limits.memory >> 20).to_string()),
        };
        if let Some(dictionary) = &target.dictionary {
            command.arg("-x").arg(dictionary);
        }
        command.arg("--").arg(target.program());
        let words = target.command.iter().skip(1);
        command.args(words.map(|word| word.replace("{input}", "@@")));
        for (name, value) in [
            ("AFL_NO_UI", "1"),
            ("AFL_NO_COLOR", "1"),
            ("AFL_NO_AFFINITY", "1"),
            ("AFL_SKIP_CPUFREQ", "1"),
            ("AFL_SKIP_CRASHES", "1"),
            ("AFL_IGNORE_SEED_PROBLEMS", "1"),
            ("AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES", "1"),
            ("AFL_AUTORESUME", "1"),
            ("AFL_FUZZER_STATS_UPDATE_INTERVAL", "2"),
        ] {
            command.env(name, value);
        }
        Ok(command)
    }

    fn own(&self) -> PathBuf {
        self.out.join(&self.id)
    }

    /// What it found is put where all instances have it.
    pub(crate) fn gather(&mut self) {
        let own = self.own();
        for (from, to) in [
            ("queue", "corpus"),
            ("crashes", "crashes"),
            ("hangs", "crashes"),
        ] {
            for file in files(&own.join(from)) {
                let is_one = file
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("id"));
                if !is_one || self.taken.contains(&file) {
                    continue;
                }
                // What cannot be read or written now is taken with the next look.
                let Ok(input) = fs::read(&file) else { continue };
                let to = self.shared.join(to).join(name(&input));
                if fs::write(to, input).is_ok() {
                    self.taken.insert(file);
                }
            }
        }
    }

    /// Executions, and inputs that are kept.
    pub(crate) fn stand(&self) -> (u64, u64) {
        let own = self.own();
        let stats = fs::read_to_string(own.join("fuzzer_stats")).unwrap_or_default();
        let kept = files(&own.join("queue"));
        let names = kept.iter().filter_map(|file| file.file_name()?.to_str());
        let kept = names.clone().filter(|name| name.starts_with("id")).count();
        // Statistics are written once a minute by some versions, and each name tells when it was found.
        let seen = names.filter_map(of_name).max().unwrap_or(0);
        (of_stats(&stats).max(seen), kept as u64)
    }
}

/// `execs_done        : 17905`, a line for each number.
fn of_stats(text: &str) -> u64 {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(key, _)| key.trim() == "execs_done");
    let value = values.next().map(|(_, value)| value.trim().parse());
    value.and_then(Result::ok).unwrap_or(0)
}

/// `id:000003,src:000002,time:6427,execs:29671,op:havoc,rep:64,+cov`.
fn of_name(name: &str) -> Option<u64> {
    let (_, rest) = name.split_once(",execs:")?;
    rest.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_statistics_and_its_names_tell_where_it_stands() {
        let text = "start_time        : 1\nexecs_done        : 17905\ncorpus_count      : 3\n";
        assert_eq!(super::of_stats(text), 17_905);
        assert_eq!(super::of_stats(""), 0);
        let name = "id:000003,src:000002,time:6427,execs:29671,op:havoc,rep:64,+cov";
        assert_eq!(super::of_name(name), Some(29_671));
        assert_eq!(super::of_name("id:000002,sync:0-1,src:000002,+cov"), None);
    }
}
