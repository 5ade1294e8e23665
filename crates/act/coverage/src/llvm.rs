//! Profiles of LLVM: Rust with `-C instrument-coverage`, C and C++ with clang's `-fprofile-instr-generate
//! -fcoverage-mapping`.
//!
//! A profile holds counters of functions; the program holds which regions of the source each counter, or sum
//! or difference of counters, is of. A line was executed as often as the region that it begins in, or the
//! most often executed region that begins in it, as `llvm-cov` has it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use llvm_profparser::coverage_mapping::read_object_file;
use llvm_profparser::instrumentation_profile::types::InstrumentationProfile;
use llvm_profparser::{
    Counter, CounterMappingRegion, CounterType, CoverageMappingInfo, ExprKind, FunctionRecordV3,
    RegionKind,
};

use crate::error::Error;
use crate::lines::{Function, Lines, inside};
use crate::recording::{Built, files};

/// Sums of counters are followed so deep; those that the compiler makes are far flatter.
const DEPTH_MAX: u32 = 1_000;

pub(crate) fn environment(folder: &Path, built: Built) -> (String, OsString) {
    let name = match built {
        // Counters are mapped from the file, so they are there whatever ends the program.
        Built::Here => "%c%p-%m.profraw",
        Built::Elsewhere => "%p-%m.profraw",
    };
    ("LLVM_PROFILE_FILE".into(), folder.join(name).into())
}

pub(crate) fn read(
    folder: &Path,
    project: &Path,
    programs: &[PathBuf],
    lines: &mut Lines,
) -> Result<(), Error> {
    let Some((profile, version)) = profile(&files(folder, "profraw")?)? else {
        return Ok(());
    };
    let mut seen = BTreeSet::new();
    for program in programs {
        let mapping = guarded(program, || {
            read_object_file(program, version).map_err(|error| error.to_string())
        })?;
        for function in &mapping.cov_fun {
            let header = &function.header;
            if seen.insert((header.name_hash, header.fn_hash)) {
                add_function(&profile, &mapping, function, project, lines);
            }
        }
    }
    Ok(())
}

/// All profiles together. One that was not written to its end is left out; when none can be read, that is
/// an error.
fn profile(paths: &[PathBuf]) -> Result<Option<(InstrumentationProfile, u64)>, Error> {
    let mut sum: Option<InstrumentationProfile> = None;
    let mut failed = None;
    for path in paths {
        let read = guarded(path, || {
            llvm_profparser::parse(path).map_err(|error| error.to_string())
        });
        match (read, &mut sum) {
            (Ok(profile), Some(sum)) => sum.merge(&profile),
            (Ok(profile), None) => sum = Some(profile),
            (Err(error), _) => failed = Some(error),
        }
    }
    match (sum, failed) {
        (Some(profile), _) => {
            let version = profile.version();
            Ok(version.map(|version| (profile, version)))
        }
        (None, Some(error)) => Err(error),
        (None, None) => Ok(None),
    }
}

/// The library takes some damage for impossible.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, String>) -> Result<T, Error> {
    let result = catch_unwind(AssertUnwindSafe(read));
    let result = result.unwrap_or_else(|_| Err("it is damaged".into()));
    result.map_err(|reason| Error::Profile {
        path: path.to_path_buf(),
        reason,
    })
}

fn add_function(
    profile: &InstrumentationProfile,
    mapping: &CoverageMappingInfo,
    function: &FunctionRecordV3,
    project: &Path,
    lines: &mut Lines,
) {
    let Some(record) = profile.find_record_by_hash(function.header.name_hash) else {
        return;
    };
    let counts = record.counts();
    if record
        .hash
        .is_some_and(|hash| hash != function.header.fn_hash)
        || counts.iter().all(|count| *count == 0)
    {
        return;
    }
    let mut counters = Counters::new(function, counts);
    let paths = mapping.get_files_from_id(function.header.filenames_ref);
    let mut regions: Vec<(&CounterMappingRegion, &Path)> = Vec::new();
    for region in &function.regions {
        let code = matches!(region.kind, RegionKind::Code | RegionKind::Expansion);
        if let Some(path) = paths.get(region.file_id)
            && code
        {
            regions.push((region, path));
        }
    }
    let in_files: BTreeSet<&Path> = regions.iter().map(|(_, path)| *path).collect();
    for path in in_files {
        let Some(file) = inside(project, path) else {
            continue;
        };
        let of_file = regions.iter().filter(|(_, p)| *p == path);
        let counted: Vec<Region> = of_file
            .map(|(region, _)| Region::of(region, &mut counters))
            .collect();
        add_lines(&file, &counted, lines);
        if let Some(name) = named(record.name().unwrap_or_default()) {
            let first = counted.iter().map(|r| r.first.0).min().unwrap_or(0);
            let last = counted.iter().map(|r| r.last.0).max().unwrap_or(0);
            lines.add_function(&file, Function { first, last, name });
        }
    }
}

/// As the source has it; none for a closure, which is a part of its function.
fn named(symbol: &str) -> Option<String> {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    // Static functions of C carry their file in front.
    let name = name.rsplit(';').next().unwrap_or_default();
    (!name.is_empty() && !name.contains("{closure")).then(|| name.to_string())
}

/// A region and how often it was executed; line and column.
struct Region {
    first: (u32, u32),
    last: (u32, u32),
    times: u64,
}

impl Region {
    fn of(region: &CounterMappingRegion, counters: &mut Counters<'_>) -> Region {
        let place = |line: usize, column: usize| {
            let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
            (number(line), number(column))
        };
        let times = counters.value(region.count, 0);
        Region {
            first: place(region.loc.line_start, region.loc.column_start),
            last: place(region.loc.line_end, region.loc.column_end),
            times: u64::try_from(times).unwrap_or(0),
        }
    }

    fn holds_beginning_of(&self, line: u32) -> bool {
        self.first.0 < line && line <= self.last.0
    }
}

/// The counters of a function, and the sums and differences of them.
struct Counters<'a> {
    function: &'a FunctionRecordV3,
    counts: &'a [u64],
    /// By the place of the expression; many are parts of several others.
    known: Vec<Option<i128>>,
}

impl<'a> Counters<'a> {
    fn new(function: &'a FunctionRecordV3, counts: &'a [u64]) -> Counters<'a> {
        Counters {
            function,
            counts,
            known: vec![None; function.expressions.len()],
        }
    }

    fn value(&mut self, counter: Counter, depth: u32) -> i128 {
        let place = usize::try_from(counter.id).unwrap_or(usize::MAX);
        match counter.kind {
            CounterType::Zero => 0,
            CounterType::ProfileInstrumentation => {
                self.counts.get(place).copied().map_or(0, i128::from)
            }
            CounterType::Expression(_) => self.expression(place, depth),
        }
    }

    fn expression(&mut self, place: usize, depth: u32) -> i128 {
        let Some(expression) = self.function.expressions.get(place) else {
            return 0;
        };
        if let Some(known) = self.known[place] {
            return known;
        }
        if depth >= DEPTH_MAX {
            return 0;
        }
        let left = self.value(expression.lhs, depth + 1);
        let right = self.value(expression.rhs, depth + 1);
        let value = match expression.kind {
            ExprKind::Add => left.saturating_add(right),
            ExprKind::Subtract => left.saturating_sub(right),
        };
        self.known[place] = Some(value);
        value
    }
}

fn add_lines(file: &str, regions: &[Region], lines: &mut Lines) {
    let numbers: BTreeSet<u32> = regions
        .iter()
        .flat_map(|r| r.first.0..=r.last.0.min(r.first.0 + 100_000))
        .collect();
    for line in numbers {
        // The innermost of those that are around: the one that begins last.
        let around = regions.iter().filter(|r| r.holds_beginning_of(line));
        let around = around.max_by_key(|r| (r.first, std::cmp::Reverse(r.last)));
        let begun = regions.iter().filter(|r| r.first.0 == line);
        let most = begun.chain(around).map(|r| r.times).max();
        lines.add(file, line, most.unwrap_or(0));
    }
}
