//! Minimization against programs with a hidden reason to fail: what is needed is found, little else stays, and
//! the runs that it took are counted.

use cohort_replicator::minimize::{Branch, Count, Minimizer, Smallest, TreeMinimizer, json, text};
use proptest::prelude::*;

/// A program that fails at `rate` where any of `reasons` is there in full, and else at `other`.
struct Program {
    reasons: Vec<Vec<usize>>,
    rate: f64,
    other: f64,
    state: u64,
    runs: u32,
}

impl Program {
    fn new(reasons: Vec<Vec<usize>>, rate: f64, seed: u64) -> Program {
        Program {
            reasons,
            rate,
            other: 0.0,
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            runs: 0,
        }
    }

    fn random(&mut self) -> f64 {
        // splitmix64
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn has_reason(&self, kept: &[usize]) -> bool {
        let there = |reason: &Vec<usize>| reason.iter().all(|i| kept.contains(i));
        self.reasons.iter().any(there)
    }

    fn run(&mut self, kept: &[usize]) -> bool {
        self.runs += 1;
        let rate = if self.has_reason(kept) {
            self.rate
        } else {
            self.other
        };
        self.random() < rate
    }

    /// Runs of the full list, as they were made before: until it failed `failures` times.
    fn known(&mut self, length: usize, failures: u32) -> Count {
        let full: Vec<usize> = (0..length).collect();
        let mut count = Count::default();
        while count.failed < failures {
            let failed = self.run(&full);
            count.add(failed);
        }
        self.runs = 0;
        count
    }
}

/// Minimizes with so many runs at once; they end in another order than they began in.
fn minimize(program: &mut Program, length: usize, at_once: usize, budget: u32) -> Smallest<usize> {
    let known = program.known(length, 3);
    let mut search = Minimizer::new((0..length).collect(), known, budget);
    let mut under_way = Vec::new();
    loop {
        while under_way.len() < at_once
            && let Some(candidate) = search.next()
        {
            under_way.push(candidate);
        }
        if under_way.is_empty() {
            break;
        }
        let last = (program.random() * under_way.len() as f64) as usize;
        let candidate = under_way.swap_remove(last);
        let failed = program.run(&candidate.kept);
        search.ended(&candidate, failed);
    }
    assert!(search.is_done());
    search.smallest().expect("the full list was seen to fail")
}

/// `items` different ones below `length`.
fn draw(program: &mut Program, length: usize, items: usize) -> Vec<usize> {
    let mut drawn = Vec::new();
    while drawn.len() < items {
        let item = (program.random() * length as f64) as usize;
        if !drawn.contains(&item) {
            drawn.push(item);
        }
    }
    drawn.sort_unstable();
    drawn
}

/// Zeller & Hildebrandt's ddmin on what always fails, for comparison: how many lists it tries.
fn ddmin(program: &mut Program, length: usize) -> u32 {
    let mut list: Vec<usize> = (0..length).collect();
    let mut parts = 2;
    let mut seen = std::collections::BTreeMap::new();
    let mut fails = |program: &mut Program, kept: &[usize]| {
        *seen
            .entry(kept.to_vec())
            .or_insert_with(|| program.run(kept))
    };
    while list.len() >= 2 {
        let size = list.len().div_ceil(parts);
        let chunks: Vec<Vec<usize>> = list.chunks(size).map(<[usize]>::to_vec).collect();
        let chunk = chunks.iter().find(|c| fails(program, c)).cloned();
        if let Some(chunk) = chunk {
            list = chunk;
            parts = 2;
            continue;
        }
        let rest = chunks.iter().find_map(|c| {
            let rest: Vec<usize> = list.iter().copied().filter(|i| !c.contains(i)).collect();
            fails(program, &rest).then_some(rest)
        });
        if let Some(rest) = rest {
            list = rest;
            parts = (parts - 1).max(2);
        } else if parts < list.len() {
            parts = (parts * 2).min(list.len());
        } else {
            break;
        }
    }
    program.runs
}

#[test]
fn runs_by_length_rate_and_what_is_needed() {
    println!("| length | needed | fails | runs, mean (max) | ddmin | exact | needed is there |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (length, needed, rate, most) in [
        (10, 1, 1.0, 14.0),
        (100, 1, 1.0, 18.0),
        (1000, 1, 1.0, 22.0),
        (1000, 2, 1.0, 40.0),
        (1000, 5, 1.0, 100.0),
        (100, 30, 1.0, 300.0),
        (1000, 1, 0.5, 150.0),
        (1000, 2, 0.5, 300.0),
        (1000, 1, 0.2, 400.0),
        (100, 1, 0.05, 2000.0),
        (1000, 1, 0.05, 2000.0),
        (1000, 2, 0.05, 3000.0),
    ] {
        let rounds = if rate < 0.3 { 6 } else { 20 };
        let (mut runs, mut max, mut plain, mut exact, mut there) = (0, 0, 0, 0, 0);
        for seed in 0..rounds {
            let mut program = Program::new(Vec::new(), rate, seed * 31 + length as u64);
            let reason = draw(&mut program, length, needed);
            program.reasons = vec![reason.clone()];
            let found = minimize(&mut program, length, 1, 20_000);
            runs += program.runs;
            max = max.max(program.runs);
            exact += u32::from(found.kept == reason && found.minimal);
            there += u32::from(program.has_reason(&found.kept));
            if rate >= 1.0 {
                let mut program = Program::new(vec![reason], 1.0, seed);
                plain += ddmin(&mut program, length);
            }
        }
        let mean = f64::from(runs) / rounds as f64;
        let plain = match plain {
            0 => "-".to_string(),
            sum => format!("{:.0}", f64::from(sum) / rounds as f64),
        };
        println!(
            "| {length} | {needed} | {rate} | {mean:.0} ({max}) | {plain} | {exact}/{rounds} | {there}/{rounds} |"
        );
        assert_eq!(
            u64::from(there),
            rounds,
            "what was seen to fail has a reason to"
        );
        assert!(u64::from(exact) * 10 >= rounds * 9, "{exact} of {rounds}");
        assert!(mean <= most, "{mean} runs on average, {most} are to do");
    }
}

#[test]
fn several_instances_take_fewer_rounds() {
    let rounds = |at_once: usize| {
        let mut total = 0.0;
        for seed in 0..6 {
            let mut program = Program::new(vec![vec![700]], 0.2, seed);
            let found = minimize(&mut program, 1000, at_once, 20_000);
            assert!(found.kept.contains(&700));
            total += f64::from(program.runs) / at_once as f64;
        }
        total
    };
    let (alone, eight) = (rounds(1), rounds(8));
    println!("rounds alone {alone:.0}, with eight at once {eight:.0}");
    assert!(eight * 4.0 < alone, "{eight} against {alone}");
}

#[test]
fn failures_for_other_reasons_do_not_lead_astray() {
    let mut right = 0;
    for seed in 0..40 {
        let mut program = Program::new(vec![vec![37, 61]], 0.8, seed);
        program.other = 0.1;
        let known = program.known(100, 20);
        let mut search = Minimizer::new((0..100).collect(), known, 3000);
        while let Some(candidate) = search.next() {
            let failed = program.run(&candidate.kept);
            search.ended(&candidate, failed);
        }
        let found = search.smallest().expect("it failed");
        right += u32::from(program.has_reason(&found.kept) && found.kept.len() <= 3);
    }
    assert!(right >= 37, "{right} of 40");
}

#[test]
fn without_a_single_run_nothing_is_claimed() {
    let known = Count { runs: 3, failed: 3 };
    let mut search: Minimizer<u32> = Minimizer::new((0..50).collect(), known, 0);
    assert!(search.next().is_none() && search.is_done());
    let found = search.smallest().expect("the full list failed");
    assert_eq!((found.kept.len(), found.minimal), (50, false));

    let never = Count::default();
    let mut search: Minimizer<u32> = Minimizer::new((0..50).collect(), never, 30);
    let mut runs = 0;
    while let Some(candidate) = search.next() {
        assert_eq!(candidate.kept.len(), 50, "first it has to fail at all");
        search.ended(&candidate, false);
        runs += 1;
    }
    assert_eq!((runs, search.smallest()), (30, None));
}

#[test]
fn a_test_after_one_that_cleans_up_is_found_all_the_same() {
    // 20 pollutes, 30 cleans up, 80 pollutes again: what fails is not what has more.
    let fails = |kept: &[usize]| {
        let last = |item| {
            kept.iter()
                .position(|i| *i == item)
                .map_or(-1, |p| p as i64)
        };
        last(20).max(last(80)) > last(30)
    };
    let known = Count { runs: 5, failed: 5 };
    let mut search = Minimizer::new((0..100).collect::<Vec<usize>>(), known, 300);
    while let Some(candidate) = search.next() {
        let failed = fails(&candidate.kept);
        search.ended(&candidate, failed);
    }
    let found = search.smallest().expect("it failed");
    assert!(
        found.minimal && found.kept.len() == 1 && fails(&found.kept),
        "{found:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any of several reasons, of several items each, at any rate and with any number of instances.
    #[test]
    fn a_reason_is_found_and_little_else(
        seed in any::<u64>(),
        length in 1usize..120,
        sizes in prop::collection::vec(0usize..5, 1..4),
        rate in prop::sample::select(vec![1.0, 0.9, 0.6, 0.3, 0.1, 0.05]),
        at_once in 1usize..6,
    ) {
        let mut program = Program::new(Vec::new(), rate, seed);
        for size in &sizes {
            let reason = draw(&mut program, length, (*size).min(length));
            program.reasons.push(reason);
        }
        let found = minimize(&mut program, length, at_once, 50_000);
        prop_assert!(program.has_reason(&found.kept), "{found:?} of {:?}", program.reasons);
        prop_assert!(found.count.failed > 0);
        if found.minimal && rate >= 1.0 {
            for item in &found.kept {
                let rest: Vec<usize> = found.kept.iter().copied().filter(|i| i != item).collect();
                prop_assert!(!program.has_reason(&rest), "{item} is not needed in {found:?}");
            }
        }
    }

    /// Whatever is answered, it ends, within its budget, and with something that was seen to fail.
    #[test]
    fn it_ends_whatever_is_answered(answers in prop::collection::vec(any::<bool>(), 64), budget in 0u32..400) {
        let known = Count { runs: 4, failed: 2 };
        let mut search = Minimizer::new(vec!['a', 'b', 'a', 'c', 'b', 'b', 'd'], known, budget);
        let mut failed: Vec<Vec<char>> = vec!["abacbbd".chars().collect()];
        let mut runs = 0;
        while let Some(candidate) = search.next() {
            let answer = answers[(runs % 64) as usize];
            runs += 1;
            if answer {
                failed.push(candidate.kept.clone());
            }
            search.ended(&candidate, answer);
        }
        prop_assert!(runs <= budget && search.is_done());
        let found = search.smallest().expect("the full list failed");
        prop_assert!(failed.contains(&found.kept), "{found:?}");
    }
}

#[test]
fn requests_go_by_threads_then_iterations_then_one_by_one_then_their_bodies() {
    // 8 threads of 10 iterations of 5 requests, each with a body of 4 members.
    let body = serde_json::json!({"name": "x", "count": -1, "tags": ["a", "b"]});
    let mut threads = Vec::new();
    let mut number = 0;
    for _ in 0..8 {
        let mut iterations = Vec::new();
        for _ in 0..10 {
            let mut requests = Vec::new();
            for _ in 0..5 {
                requests.push(request(number, json::tree(&body)));
                number += 1;
            }
            iterations.push(Branch::group(requests));
        }
        threads.push(Branch::group(iterations));
    }
    let known = Count { runs: 3, failed: 3 };
    let mut search = TreeMinimizer::new(threads, known, 500);
    let has = |kept: &[(u32, String)], request: u32, at: &str| {
        kept.iter().any(|(r, p)| *r == request && p == at)
    };
    let mut runs = 0;
    while let Some(candidate) = search.next() {
        let kept = &candidate.kept;
        let fails = has(kept, 123, "") && has(kept, 311, "/count");
        search.ended(&candidate, fails);
        runs += 1;
    }
    let found = search.smallest().expect("it failed");
    let at = |request: u32, at: &str| (request, at.to_string());
    assert_eq!(found.kept, [at(123, ""), at(311, ""), at(311, "/count")]);
    assert!(
        found.minimal && found.comparable && search.is_done(),
        "{found:?}"
    );
    println!("400 requests with 5 pieces each: {runs} runs");
    assert!(runs <= 80, "{runs} runs");
}

fn request(number: u32, pieces: Vec<Branch<String>>) -> Branch<(u32, String)> {
    fn piece(number: u32, branch: Branch<String>) -> Branch<(u32, String)> {
        Branch {
            own: branch.own.into_iter().map(|p| (number, p)).collect(),
            children: branch
                .children
                .into_iter()
                .map(|c| piece(number, c))
                .collect(),
        }
    }
    Branch {
        own: vec![(number, String::new())],
        children: pieces.into_iter().map(|p| piece(number, p)).collect(),
    }
}

#[test]
fn a_text_is_cut_to_what_matters() {
    let mut input = String::new();
    for block in 0..20 {
        for line in 0..10 {
            input.push_str(&format!("key{block}_{line} = some value of line {line}\n"));
        }
        input.push('\n');
    }
    let input = input.replace("key13_4 = some value", "key13_4 = [unclosed value");
    let known = Count { runs: 3, failed: 3 };
    let mut search = TreeMinimizer::new(text::tree(input.as_bytes()), known, 500);
    let mut runs = 0;
    while let Some(candidate) = search.next() {
        let kept = text::joined(input.as_bytes(), &candidate.kept);
        let kept = String::from_utf8(kept).expect("cut at words");
        let fails = kept.contains('[') && kept.contains('=');
        search.ended(&candidate, fails);
        runs += 1;
    }
    let found = search.smallest().expect("it failed");
    let kept = text::joined(input.as_bytes(), &found.kept);
    println!(
        "{} bytes: {:?} after {runs} runs",
        input.len(),
        String::from_utf8_lossy(&kept)
    );
    assert!(
        found.minimal && kept.len() <= 16,
        "{:?}",
        String::from_utf8_lossy(&kept)
    );
    assert!(runs <= 60, "{runs} runs");
}
