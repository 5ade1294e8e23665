//! What adapting gains over the static policy on the same budget and seeds, when an area of the
//! software wears out: `cargo run -p cohort-sim --example service_gain [seeds]`.

use cohort_model::{Policy, ServicePlan};
use cohort_sim::service::{Defect, ScenarioNeeds, ServiceNeeds, run_service, service_plan};

fn scenario(name: &str, calls: &[(u32, u64, u64)], think_us: u64) -> ScenarioNeeds {
    ScenarioNeeds {
        name: name.to_owned(),
        calls: calls.to_vec(),
        think_us,
    }
}

fn needs(think_us: u64, defects: Vec<Defect>) -> ServiceNeeds {
    ServiceNeeds {
        scenarios: vec![
            scenario("browse", &[(0, 3_000, 5_000), (1, 5_000, 10_000)], think_us),
            scenario("report", &[(2, 10_000, 10_000)], think_us),
        ],
        threads: (0..40).map(|id| (0, usize::from(id % 5 == 0))).collect(),
        duration_us: 90_000_000,
        defects,
        ..ServiceNeeds::default()
    }
}

fn main() {
    let seeds = std::env::args().nth(1).and_then(|arg| arg.parse().ok());
    let defect = |instance, factor, growth| Defect {
        endpoint: 2,
        instance,
        onset_us: 15_000_000,
        factor,
        growth,
        locks: false,
    };
    let cases = [
        ("healthy, busy", 100_000, vec![]),
        ("healthy, light", 400_000, vec![]),
        (
            "wears out on all, busy",
            100_000,
            vec![defect(None, 6.0, 0.05)],
        ),
        (
            "wears out on all, light",
            250_000,
            vec![defect(None, 6.0, 0.05)],
        ),
        (
            "slow on one, busy",
            100_000,
            vec![defect(Some(1), 6.0, 0.0)],
        ),
        (
            "slow on one, light",
            250_000,
            vec![defect(Some(1), 6.0, 0.0)],
        ),
    ];
    for (name, think_us, defects) in cases {
        let needs = needs(think_us, defects);
        let gains: Vec<f64> = (0..seeds.unwrap_or(5))
            .map(|seed| {
                let run = |policy| {
                    let plan = ServicePlan {
                        seed,
                        ..service_plan(4, policy, &needs)
                    };
                    run_service(&plan, &needs, false).iterations as f64
                };
                100.0 * (run(Policy::Adaptive) / run(Policy::Static) - 1.0)
            })
            .collect();
        let mean = gains.iter().sum::<f64>() / gains.len() as f64;
        let (low, high) = gains
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), &gain| {
                (low.min(gain), high.max(gain))
            });
        println!("{name}: {mean:+.1} % iterations ({low:+.1} to {high:+.1})");
    }
}
