//! Lines and functions in the order of suspicion.

use std::collections::BTreeMap;

use cohort_model::{Frame, Suspect};

use super::formula::{Counts, ochiai};
use super::spectra::{Line, Spectra, length};

/// What the innermost function of the backtrace weighs beside a line's Ochiai, which is at most 1. Of 0.05 to 4
/// any improves on Ochiai alone on the development part of fl-bugsinpy, 0.2 to 2 about equally.
const BACKTRACE: f64 = 0.5;
/// A score by how often a line ran is so much lower: it was chosen among many.
const CHOSEN: f64 = 0.9;
/// A line that a frame names comes before others that are equal to it.
const NAMED: f64 = 1e-6;
/// Counts are looked at where there are at least so many failing and so many passing runs.
const RUNS_FOR_COUNTS: u32 = 3;

/// What is known beside the runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// Of the failure; the innermost first.
    pub frames: &'a [Frame],
    /// Failing and passing runs are of the same test: how often a line ran tells something.
    pub same_test: bool,
}

/// A suspect and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// The line, or the most suspicious line of a function.
    pub suspect: Suspect,
    /// Place, from 1: the mean of the places of all that have the same score.
    pub rank: f64,
}

/// The most suspicious lines, at most `most` of them, the most suspicious first. Lines with equal scores stand
/// later ones first: what runs right before the runs part is nearer to the failure; but the line on which a
/// function begins, which mostly only names it, stands behind them.
#[must_use]
pub fn lines(spectra: &Spectra, evidence: &Evidence<'_>, most: usize) -> Vec<Ranked> {
    let mut all = scored(spectra, evidence);
    sort(&mut all);
    ranked(&all, most)
}

/// The most suspicious functions, each by its most suspicious line. Lines of no known function are left out.
#[must_use]
pub fn functions(spectra: &Spectra, evidence: &Evidence<'_>, most: usize) -> Vec<Ranked> {
    let mut all = scored(spectra, evidence);
    sort(&mut all);
    let mut best: BTreeMap<(String, u32), Scored> = BTreeMap::new();
    for scored in all {
        let suspect = &scored.suspect;
        if let Some(function) = spectra.function_at(&suspect.file, suspect.line) {
            let key = (suspect.file.clone(), function.first);
            best.entry(key).or_insert(scored);
        }
    }
    let mut all: Vec<Scored> = best.into_values().collect();
    sort(&mut all);
    ranked(&all, most)
}

/// What the backtrace alone tells, where no runs were recorded: the lines that its own functions were at, the
/// innermost first, as [`lines`] would weigh them. `is_test` says whether a file, or a function, is code of tests:
/// what stands there is where the failure showed, and it is left out.
#[must_use]
pub fn from_backtrace(
    frames: &[Frame],
    is_test: impl Fn(&str, &str) -> bool,
    most: usize,
) -> Vec<Suspect> {
    let own = |frame: &&Frame| frame.own && frame.line > 0 && !frame.file.is_empty();
    let own = frames.iter().filter(own);
    let code = own.filter(|frame| !is_test(&frame.file, &frame.function));
    let mut found: Vec<Suspect> = Vec::new();
    let mut depth = 0;
    for frame in code {
        // A function that calls itself is at several lines.
        if found
            .iter()
            .any(|one| one.file == frame.file && one.line == frame.line)
        {
            continue;
        }
        depth += 1;
        found.push(Suspect {
            file: frame.file.clone(),
            line: frame.line,
            function: frame.function.clone(),
            score: (BACKTRACE / f64::from(depth) + NAMED) / (1.0 + BACKTRACE + NAMED),
            source: String::new(),
        });
    }
    found.truncate(most);
    found
}

/// A line, whether it is code of tests, and whether its function begins there.
struct Scored {
    of_tests: bool,
    begins: bool,
    suspect: Suspect,
}

fn scored(spectra: &Spectra, evidence: &Evidence<'_>) -> Vec<Scored> {
    let places: Vec<Place<'_>> = Place::of(spectra, evidence.frames);
    let mut all = Vec::new();
    for (file, lines) in &spectra.files {
        for (number, line) in lines {
            if line.failed.is_empty() {
                continue;
            }
            let function = spectra.function_at(file, *number);
            let base = base(spectra, line, evidence.same_test);
            let near = nearness(&places, file, *number);
            let score = if places.is_empty() {
                base
            } else {
                (base + near) / (1.0 + BACKTRACE + NAMED)
            };
            all.push(Scored {
                of_tests: spectra.is_of_tests(file, *number),
                begins: function.is_some_and(|f| f.first == *number && f.last > f.first),
                suspect: Suspect {
                    file: file.clone(),
                    line: *number,
                    function: function.map(|f| f.name.clone()).unwrap_or_default(),
                    score,
                    source: String::new(),
                },
            });
        }
    }
    all
}

/// A function of the backtrace, and the line that was being executed.
struct Place<'a> {
    file: &'a str,
    first: u32,
    last: u32,
    line: u32,
    depth: u32,
}

impl<'a> Place<'a> {
    /// Those of the frames that lie in files that were executed.
    fn of(spectra: &'a Spectra, frames: &[Frame]) -> Vec<Place<'a>> {
        let mut places: Vec<Place<'a>> = Vec::new();
        for frame in frames.iter().filter(|f| f.own && f.line > 0) {
            let Some(file) = file_of(spectra, &frame.file) else {
                continue;
            };
            let function = spectra.function_at(file, frame.line);
            let (first, last) = function.map_or((frame.line, frame.line), |f| (f.first, f.last));
            places.push(Place {
                file,
                first,
                last,
                line: frame.line,
                depth: length_of(&places) + 1,
            });
        }
        places
    }
}

fn length_of(places: &[Place<'_>]) -> u32 {
    u32::try_from(places.len()).unwrap_or(u32::MAX)
}

/// The executed file that a frame means: paths of frames may be absolute, or relative to another folder.
fn file_of<'a>(spectra: &'a Spectra, named: &str) -> Option<&'a str> {
    let tail = |long: &str, short: &str| {
        long.strip_suffix(short)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    let named = named.strip_prefix("./").unwrap_or(named);
    let mut files = spectra.files.keys().map(String::as_str);
    let exact = files.clone().find(|file| *file == named);
    exact.or_else(|| files.find(|file| tail(named, file) || tail(file, named)))
}

/// What the backtrace adds to the line.
fn nearness(places: &[Place<'_>], file: &str, line: u32) -> f64 {
    let inside = |p: &&Place<'_>| p.file == file && p.first <= line && line <= p.last;
    let Some(place) = places.iter().find(inside) else {
        return 0.0;
    };
    let named = places.iter().any(|p| p.file == file && p.line == line);
    BACKTRACE / f64::from(place.depth) + if named { NAMED } else { 0.0 }
}

/// What the runs tell.
fn base(spectra: &Spectra, line: &Line, same_test: bool) -> f64 {
    let executed = ochiai(spectra.counts_of(line));
    let enough = spectra.failed.min(spectra.passed) >= RUNS_FOR_COUNTS;
    if same_test && enough {
        executed.max(CHOSEN * by_count(spectra, line))
    } else {
        executed
    }
}

/// The best Ochiai of "more than n times" and of "at most n times", for any n.
fn by_count(spectra: &Spectra, line: &Line) -> f64 {
    let mut failed = line.failed.clone();
    let mut passed = line.passed.clone();
    failed.sort_unstable();
    passed.sort_unstable();
    let mut bounds: Vec<u32> = failed.iter().chain(&passed).copied().collect();
    bounds.sort_unstable();
    bounds.dedup();
    let up_to = |runs: &[u32], n: u32| {
        let count = runs.partition_point(|times| *times <= n);
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let missing_failed = spectra.failed - length(&failed).min(spectra.failed);
    let missing_passed = spectra.passed - length(&passed).min(spectra.passed);
    let mut best: f64 = 0.0;
    for n in bounds {
        let (few_failed, few_passed) = (up_to(&failed, n), up_to(&passed, n));
        let more = Counts {
            failed: length(&failed) - few_failed,
            passed: length(&passed) - few_passed,
            all_failed: spectra.failed,
        };
        let few = Counts {
            failed: few_failed + missing_failed,
            passed: few_passed + missing_passed,
            all_failed: spectra.failed,
        };
        best = best.max(ochiai(more)).max(ochiai(few));
    }
    best
}

fn sort(lines: &mut [Scored]) {
    lines.sort_by(|a, b| {
        let code_first = a.of_tests.cmp(&b.of_tests);
        let names_last = a.begins.cmp(&b.begins);
        let (a, b) = (&a.suspect, &b.suspect);
        code_first
            .then_with(|| b.score.total_cmp(&a.score))
            .then_with(|| names_last)
            .then_with(|| a.file.cmp(&b.file))
            .then_with(|| b.line.cmp(&a.line))
    });
}

fn ranked(lines: &[Scored], most: usize) -> Vec<Ranked> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < lines.len() && found.len() < most {
        let first = &lines[start];
        let as_first = |line: &&Scored| {
            let equal = (line.suspect.score - first.suspect.score).abs() < 1e-12;
            equal && line.of_tests == first.of_tests
        };
        let equal = lines[start..].iter().take_while(as_first).count();
        let rank = (f64::from(small(start)) + 1.0 + f64::from(small(start + equal))) / 2.0;
        for line in &lines[start..start + equal] {
            found.push(Ranked {
                suspect: line.suspect.clone(),
                rank,
            });
        }
        start += equal;
    }
    found.truncate(most);
    found
}

fn small(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spectra(runs: &[(bool, &[(u32, u64)])]) -> Spectra {
        let mut spectra = Spectra::new();
        spectra.function("a.py", 1, 9, "outer");
        spectra.function("a.py", 3, 5, "inner");
        for (failed, lines) in runs {
            spectra.ran(*failed, lines.iter().map(|(line, n)| ("a.py", *line, *n)));
        }
        spectra
    }

    fn order(ranked: &[Ranked]) -> Vec<(u32, f64)> {
        ranked.iter().map(|r| (r.suspect.line, r.rank)).collect()
    }

    #[test]
    fn what_only_failing_runs_execute_comes_first_and_equals_share_a_place() {
        let spectra = spectra(&[
            (true, &[(1, 1), (3, 1), (4, 1), (9, 1)]),
            (false, &[(1, 1), (9, 2)]),
            (false, &[(1, 1), (7, 1)]),
        ]);
        let found = lines(&spectra, &Evidence::default(), 10);
        assert_eq!(order(&found), [(4, 1.5), (3, 1.5), (9, 3.0), (1, 4.0)]);
        assert_eq!(found[0].suspect.function, "inner");
        let found = functions(&spectra, &Evidence::default(), 10);
        let names: Vec<&str> = found.iter().map(|f| f.suspect.function.as_str()).collect();
        assert_eq!(names, ["inner", "outer"]);
    }

    #[test]
    fn code_of_tests_stands_behind_all_other() {
        let mut spectra = spectra(&[
            (true, &[(1, 1), (3, 1), (4, 1)]),
            (false, &[(1, 1), (3, 1)]),
        ]);
        spectra.tests("a.py", 4, 4);
        let found = lines(&spectra, &Evidence::default(), 10);
        assert_eq!(order(&found), [(3, 1.5), (1, 1.5), (4, 3.0)]);
    }

    #[test]
    fn the_backtrace_lifts_its_functions_whatever_its_paths_look_like() {
        let spectra = spectra(&[
            (true, &[(1, 1), (4, 1), (12, 1)]),
            (false, &[(1, 1), (4, 1)]),
        ]);
        let frame = |line: u32, own: bool| Frame {
            function: String::new(),
            file: "/build/project/a.py".into(),
            line,
            own,
        };
        let frames = [frame(77, false), frame(4, true), frame(8, true)];
        let evidence = Evidence {
            frames: &frames,
            same_test: false,
        };
        // 12 alone: 1; 4: 0.71 + 0.5; 1, in the caller: 0.71 + 0.25.
        let found = lines(&spectra, &evidence, 10);
        assert_eq!(order(&found), [(4, 1.0), (12, 2.0), (1, 3.0)]);
        assert!(found.iter().all(|f| (0.0..=1.0).contains(&f.suspect.score)));
    }

    #[test]
    fn where_all_runs_execute_the_same_how_often_tells() {
        let failing: &[(u32, u64)] = &[(1, 1), (2, 50), (3, 7)];
        let passing: &[(u32, u64)] = &[(1, 1), (2, 3), (3, 7)];
        let runs = [(true, failing), (false, passing)];
        let all: Vec<(bool, &[(u32, u64)])> = runs.iter().copied().cycle().take(8).collect();
        let spectra = spectra(&all);
        let evidence = Evidence {
            frames: &[],
            same_test: true,
        };
        let found = lines(&spectra, &evidence, 10);
        assert_eq!(order(&found), [(2, 1.0), (3, 2.5), (1, 2.5)]);
        let found = lines(&spectra, &Evidence::default(), 10);
        assert_eq!(found[0].rank, 2.0, "otherwise counts say nothing");
    }
}
