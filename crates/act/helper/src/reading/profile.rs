//! Sampled stacks: where the time goes.

use std::collections::BTreeMap;

use cohort_model::HelperTold;
use cohort_symptom::stacks::is_own;

use super::Error;
use super::samples::samples;
use super::symbols::Symbols;

/// Fewer samples say nothing.
const SAMPLES_MIN: u64 = 20;
/// A function with a smaller share is not worth telling, 0 to 1.
const SHARE_MIN: f64 = 0.1;
/// Parts of paths to what is a library's.
const LIBRARIES: [&str; 6] = [
    "/node_modules/",
    "/rustc/",
    "/rust/deps/",
    "/registry/src/",
    "/git/checkouts/",
    "/go/pkg/mod/",
];
/// Of a path these last parts are told.
const PLACE_PARTS: usize = 2;
/// Functions told.
const FUNCTIONS_MAX: usize = 3;

/// Stacks, outermost function first, and how often each was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    stacks: BTreeMap<Vec<String>, u64>,
}

/// What was spent in one function.
#[derive(Debug, Default)]
struct Spent<'a> {
    samples: u64,
    lines: BTreeMap<&'a str, u64>,
    callers: BTreeMap<Option<&'a str>, u64>,
}

impl Spent<'_> {
    fn share(&self, of: u64) -> Option<Share> {
        let (name, _) = self.lines.iter().max_by_key(|(_, samples)| **samples)?;
        let (caller, _) = self.callers.iter().max_by_key(|(_, samples)| **samples)?;
        Some(Share {
            name: (*name).to_owned(),
            caller: caller.map(str::to_owned),
            samples: self.samples,
            of,
        })
    }
}

/// The share of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    name: String,
    caller: Option<String>,
    pub(super) samples: u64,
    pub(super) of: u64,
}

impl Share {
    pub(super) fn percent(&self) -> f64 {
        100.0 * self.samples as f64 / self.of as f64
    }

    /// The function and its line.
    pub(super) fn shown(&self) -> String {
        shown(&self.name)
    }

    /// The function, and who calls it.
    pub(super) fn whom(&self) -> String {
        let caller = self.caller.as_ref();
        let called = caller.map_or_else(String::new, |it| format!(", called by `{it}`"));
        format!("`{}`{called}", self.shown())
    }

    pub(super) fn tell(&self, sentence: &str) -> HelperTold {
        HelperTold {
            sentence: sentence.to_owned(),
            function: Some(function(&self.name).to_owned()),
            place: place(&self.name),
            ..HelperTold::default()
        }
    }
}

impl Profile {
    /// As `perf script` writes samples of what runs.
    #[must_use]
    pub fn of_perf(output: &str) -> Self {
        let mut symbols = Symbols::default();
        let mut profile = Self::default();
        for sample in samples(output) {
            profile.add(symbols.stack(&sample), 1);
        }
        profile
    }

    /// As folded stacks: `outermost;...;innermost 12`.
    ///
    /// # Errors
    /// A line that is none.
    pub fn of_folded(output: &str) -> Result<Self, Error> {
        let mut profile = Self::default();
        for (at, line) in output.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let read = line.trim_end().rsplit_once(' ');
            let read = read.and_then(|(stack, count)| Some((stack, count.parse().ok()?)));
            let Some((stack, count)) = read else {
                return Err(Error::Line {
                    line: at + 1,
                    found: line.chars().take(80).collect(),
                    expected: "a stack such as `main;find;match 12`",
                });
            };
            let frames = stack.split(';').map(str::to_owned).collect();
            profile.add(frames, count);
        }
        Ok(profile)
    }

    pub(super) fn add(&mut self, frames: Vec<String>, count: u64) {
        if !frames.is_empty() {
            *self.stacks.entry(frames).or_default() += count;
        }
    }

    /// As folded stacks, which flame graphs are made of.
    #[must_use]
    pub fn folded(&self) -> String {
        let lines = self.stacks.iter();
        let lines = lines.map(|(frames, count)| format!("{} {count}\n", frames.join(";")));
        lines.collect()
    }

    /// Stacks and how often each was seen.
    pub(super) fn stacks(&self) -> impl Iterator<Item = (&[String], u64)> {
        let stacks = self.stacks.iter();
        stacks.map(|(frames, count)| (frames.as_slice(), *count))
    }

    /// The functions of the program's own in which most of the time goes, each with who calls it.
    #[must_use]
    pub fn told(&self, program: &str) -> Vec<HelperTold> {
        let shares = self.shares(program);
        let told = shares.iter().map(|it| {
            it.tell(&format!(
                "{:.0} % of the CPU time goes to {} ({} of {} samples).",
                it.percent(),
                it.whom(),
                it.samples,
                it.of
            ))
        });
        told.collect()
    }

    /// The same for samples of threads whether they ran or waited, of calls only.
    pub(super) fn told_of_waits(&self, program: &str) -> Vec<HelperTold> {
        let shares = self.shares(program);
        let told = shares.iter().map(|it| {
            it.tell(&format!(
                "{:.0} % of the time that threads are in its own code, running or waiting, goes to {} ({} of {} samples).",
                it.percent(),
                it.whom(),
                it.samples,
                it.of
            ))
        });
        told.collect()
    }

    /// The functions of the program's own that have most of the samples.
    pub(super) fn shares(&self, program: &str) -> Vec<Share> {
        let samples = self.samples();
        if samples < SAMPLES_MIN {
            return Vec::new();
        }
        let mut by: Vec<Spent<'_>> = self.spent(program).into_values().collect();
        by.sort_by_key(|spent| std::cmp::Reverse(spent.samples));
        by.iter()
            .take(FUNCTIONS_MAX)
            .filter(|spent| spent.samples as f64 >= SHARE_MIN * samples as f64)
            .filter_map(|spent| spent.share(samples))
            .collect()
    }

    /// All samples.
    pub(super) fn samples(&self) -> u64 {
        self.stacks.values().sum()
    }

    /// Samples of each function of the program's own in which there are any, by its name without a line.
    pub(super) fn by_function(&self, program: &str) -> BTreeMap<String, Share> {
        let samples = self.samples();
        let spent = self.spent(program).into_iter();
        spent
            .filter_map(|(name, spent)| Some((name, spent.share(samples)?)))
            .collect()
    }

    fn spent(&self, program: &str) -> BTreeMap<String, Spent<'_>> {
        let mut by: BTreeMap<String, Spent<'_>> = BTreeMap::new();
        for (frames, &count) in &self.stacks {
            let mut own = self.own(frames, program);
            let Some(innermost) = own.next() else {
                continue;
            };
            let caller = own.find(|it| without_line(it) != without_line(innermost));
            let spent = by.entry(without_line(innermost)).or_default();
            spent.samples += count;
            *spent.lines.entry(innermost).or_default() += count;
            *spent.callers.entry(caller.map(function)).or_default() += count;
        }
        by
    }

    /// Those stacks only in which the program's own code is, beyond its entry.
    pub(super) fn within(self, program: &str) -> Self {
        let is_entry = |name: &str| {
            let name = function(name);
            matches!(name, "main" | "<module>") || name.ends_with("::main")
        };
        let inside = |frames: &Vec<String>| {
            let mut own = self.own(frames, program);
            own.any(|it| !is_entry(it))
        };
        let kept = self.stacks.iter().filter(|(frames, _)| inside(frames));
        let stacks = kept.map(|(frames, count)| (frames.clone(), *count));
        Self {
            stacks: stacks.collect(),
        }
    }

    /// Own functions of a stack, innermost first. Where a frame is in a file of its own code, or in a program of Rust in its own
    /// crate, only such frames count, where there are any at all: names alone do not tell what is a library's.
    fn own<'a>(
        &self,
        frames: &'a [String],
        program: &str,
    ) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        let of_crate = format!("{}::", program.replace('-', "_"));
        let is_sure = move |name: &str| match place(name) {
            Some(place) => {
                is_own(function(name), &place) && !LIBRARIES.iter().any(|it| place.contains(it))
            }
            None => name.trim_start_matches(['<', '&']).starts_with(&of_crate),
        };
        let all = frames.iter().rev().map(String::as_str);
        let has = |frames: &[String]| frames.iter().any(|it| is_sure(it));
        if self.stacks.keys().any(|it| has(it)) {
            Box::new(all.filter(move |name| is_sure(name)))
        } else {
            Box::new(all.filter(|name| place(name).is_none() && is_own(function(name), "")))
        }
    }
}

/// With the end of a long path only.
fn shown(name: &str) -> String {
    let Some(place) = place(name).filter(|it| it.starts_with('/')) else {
        return name.to_owned();
    };
    let parts: Vec<&str> = place.split('/').collect();
    let end = parts[parts.len().saturating_sub(PLACE_PARTS)..].join("/");
    format!("{} ({end})", function(name))
}

/// `find (app/search.py:12)` without its place.
pub(super) fn function(name: &str) -> &str {
    match name.rsplit_once(" (") {
        Some((function, place)) if place.contains(':') || place.contains('.') => function,
        _ => name,
    }
}

/// The same for each line of a function.
fn without_line(name: &str) -> String {
    match place(name) {
        Some(place) => {
            let file = place
                .rsplit_once(':')
                .map_or(place.as_str(), |(file, _)| file);
            format!("{} ({file})", function(name))
        }
        None => name.to_owned(),
    }
}

/// Its file and line, where they are known.
pub(super) fn place(name: &str) -> Option<String> {
    let place = name.rsplit_once(" (")?.1.strip_suffix(')')?;
    place.contains('.').then(|| place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(frames: &[&str]) -> String {
        let frames = frames
            .iter()
            .map(|name| format!("\t          310d29 {name} (/app/shop)\n"));
        format!(
            "tokio-rt-worker 30800 7.5: \n{}\n",
            frames.collect::<String>()
        )
    }

    #[test]
    fn the_own_function_that_burns_is_named_with_its_caller() {
        let hot = sample(&[
            "shop::search::tries",
            "shop::search::tries",
            "<core::iter::Map<I,F> as Iterator>::next",
            "shop::search::find",
            "tokio::runtime::task::poll",
            "start_thread",
        ]);
        let other = sample(&["tokio::park", "start_thread"]);
        let output = hot.repeat(30) + &other.repeat(10);
        let profile = Profile::of_perf(&output);
        let told = profile.told("shop");
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].function.as_deref(), Some("shop::search::tries"));
        assert_eq!(
            told[0].sentence,
            "75 % of the CPU time goes to `shop::search::tries`, called by `shop::search::find` (30 of 40 samples)."
        );
        assert_eq!(Profile::of_folded(&profile.folded()), Ok(profile));
    }

    #[test]
    fn python_is_named_by_its_line() {
        let folded = "<module> (app.py:30);handle (app.py:20);burn (app.py:6) 40\n\
                      <module> (app.py:30);handle (app.py:20);burn (app.py:7) 50\n\
                      <module> (app.py:30);wait (/usr/lib/python3.11/threading.py:9) 10\n";
        let told = Profile::of_folded(folded)
            .expect("folded")
            .told("python3.11");
        assert_eq!(told[0].function.as_deref(), Some("burn"));
        assert_eq!(told[0].place.as_deref(), Some("app.py:7"));
        assert_eq!(
            told[0].sentence,
            "90 % of the CPU time goes to `burn (app.py:7)`, called by `handle` (90 of 100 samples)."
        );
    }

    #[test]
    fn a_few_samples_say_nothing_and_nonsense_is_named() {
        assert_eq!(
            Profile::of_folded("main;f 3\n").expect("folded").told("x"),
            []
        );
        let error = Profile::of_folded("main;f 3\nno count\n").expect_err("nonsense");
        assert!(error.to_string().starts_with("line 2 "), "{error}");
        assert_eq!(Profile::of_perf("\u{0}garbage\n\n\n").folded(), "");
    }
}
