//! Which first tries need the fewest runs to the first failure, by what `matrix` has measured (`peers/matrix.json`).
//!
//! An order is judged by the geometric mean over all bugs of the runs to the first failure: `E ln K` of each, with
//! the rate of each try and the runs that it counts. After its tries every arm is tried once a round, plain runs
//! too, the same for all orders. An order is *fitted* by exchanging one try at a time for what makes the mean
//! least, until nothing does. **Left out**: each bug is judged by an order that was fitted to the others alone.

use serde::Deserialize;

use super::super::row::{Row, Target};
use super::Bench;
use super::bugs::Bug;
use super::matrix::{self, Arm, Matrix};
use super::plain::runs_to_first;
use crate::error::Error;
use crate::run;

/// Tries of an order that is fitted.
const LENGTH: usize = 7;
/// Rounds of all arms after which what is left is neglected.
const ROUNDS: u32 = 60;
/// Weight of the plain rate in the rate under an arm, tries.
const PRIOR: f64 = 1.0;

#[derive(Deserialize)]
struct Orders {
    order: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    arms: Vec<String>,
}

/// Rates of a bug by arm, the plain run first; and the runs that one try of each is.
struct Table {
    rates: Vec<Vec<f64>>,
    runs: Vec<f64>,
    names: Vec<String>,
}

impl Table {
    fn new(bugs: &[&Bug], arms: &[Arm], matrix: &Matrix) -> Table {
        let of_bug = |bug: &&Bug| {
            let base = bug.base.unwrap_or_default();
            let row = matrix.get(&bug.name);
            let rate = |arm: &Arm| {
                let cell = row.and_then(|row| row.get(&arm.name)).copied();
                let cell = cell.unwrap_or_default();
                let rate =
                    (f64::from(cell.failures) + PRIOR * base) / (f64::from(cell.tries) + PRIOR);
                // Too few tries to tell that it fails less often than plain runs do.
                rate.max(base)
            };
            [base].into_iter().chain(arms.iter().map(rate)).collect()
        };
        let names = arms.iter().map(|arm| arm.name.clone());
        Table {
            rates: bugs.iter().map(of_bug).collect(),
            runs: [1.0]
                .into_iter()
                .chain(arms.iter().map(|arm| f64::from(arm.copies())))
                .collect(),
            names: ["plain".to_owned()].into_iter().chain(names).collect(),
        }
    }

    /// `E ln K` of one bug.
    fn cost(&self, bug: usize, order: &[usize]) -> f64 {
        let (mut left, mut runs, mut sum) = (1.0, 0.0, 0.0);
        let mut tried = |arm: usize| {
            runs += self.runs[arm];
            sum += left * self.rates[bug][arm] * f64::ln(runs);
            left *= 1.0 - self.rates[bug][arm];
            left
        };
        order.iter().for_each(|arm| {
            tried(*arm);
        });
        for _ in 0..ROUNDS {
            let mut least = 1.0;
            (0..self.runs.len()).for_each(|arm| least = tried(arm));
            if least < 1e-4 {
                break;
            }
        }
        sum + left * f64::ln(runs)
    }

    /// The mean over all bugs but one.
    fn mean(&self, order: &[usize], without: Option<usize>) -> f64 {
        let bugs = (0..self.rates.len()).filter(|bug| Some(*bug) != without);
        let costs: Vec<f64> = bugs.map(|bug| self.cost(bug, order)).collect();
        costs.iter().sum::<f64>() / costs.len().max(1) as f64
    }

    /// The order that is best for all bugs but one.
    fn fitted(&self, without: Option<usize>) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::new();
        for _ in 0..LENGTH {
            order.push(0);
            let last = order.len() - 1;
            self.exchange(&mut order, last, without);
        }
        loop {
            let before = self.mean(&order, without);
            (0..LENGTH).for_each(|at| self.exchange(&mut order, at, without));
            if self.mean(&order, without) > before - 1e-6 {
                return order;
            }
        }
    }

    /// Puts at a place what is best there.
    fn exchange(&self, order: &mut [usize], at: usize, without: Option<usize>) {
        let mut best = (f64::INFINITY, order[at]);
        for arm in 0..self.runs.len() {
            order[at] = arm;
            let mean = self.mean(order, without);
            if mean < best.0 {
                best = (mean, arm);
            }
        }
        order[at] = best.1;
    }

    fn place(&self, name: &String) -> Result<usize, Error> {
        let place = self.names.iter().position(|other| other == name);
        place.ok_or_else(|| {
            Error::Missing(format!(
                "an order in peers/arms.toml has the arm `{name}`, which is not there"
            ))
        })
    }
}

/// Compares orders.
pub(super) fn compare(bench: &Bench) -> Result<Vec<Row>, Error> {
    let folder = run::root().join("xtask/peers");
    let matrix = matrix::read(&folder.join("matrix.json"));
    let arms = matrix::arms()?;
    let text = run::read(&folder.join("arms.toml"))?;
    let orders: Orders = toml::from_str(&text).map_err(Error::Labels)?;
    let bugs = bench.bugs.flaky();
    let bugs: Vec<&Bug> = bugs.filter(|bug| matrix.contains_key(&bug.name)).collect();
    let table = Table::new(&bugs, &arms, &matrix);
    let row = |name: String, costs: Vec<f64>| {
        let mean = costs.iter().sum::<f64>() / costs.len().max(1) as f64;
        let name = format!(
            "runs to the first failure, geom. mean of {} bugs: {name}",
            bugs.len()
        );
        let mut row = Row::new(name, "runs", &[mean.exp()], Target::None);
        row.low = costs.iter().copied().reduce(f64::min).map(f64::exp);
        row.high = costs.iter().copied().reduce(f64::max).map(f64::exp);
        row
    };
    let all = 0..bugs.len();
    let bases = bugs.iter().map(|bug| bug.base.unwrap_or_default());
    let mut rows = vec![row(
        "plain runs".into(),
        bases
            .map(|base| runs_to_first(base.max(1e-4)).ln())
            .collect(),
    )];
    for named in &orders.order {
        let order: Vec<usize> = named
            .arms
            .iter()
            .map(|name| table.place(name))
            .collect::<Result<_, _>>()?;
        let costs: Vec<f64> = all.clone().map(|bug| table.cost(bug, &order)).collect();
        rows.push(row(format!("`{}`", named.name), costs));
    }
    let fitted = table.fitted(None);
    let names: Vec<&str> = fitted.iter().map(|arm| &*table.names[*arm]).collect();
    eprintln!("  fitted: {}", names.join(", "));
    let costs = all.clone().map(|bug| table.cost(bug, &fitted)).collect();
    rows.push(row("fitted to them".into(), costs));
    let costs = all.map(|bug| table.cost(bug, &table.fitted(Some(bug))));
    let costs = costs.collect();
    rows.push(row("fitted to the others, each left out".into(), costs));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            // One fails under the first condition alone, one under the second.
            rates: vec![vec![0.001, 0.9, 0.001], vec![0.001, 0.001, 0.9]],
            runs: vec![1.0, 1.0, 4.0],
            names: ["plain", "cheap", "dear"].map(str::to_owned).to_vec(),
        }
    }

    #[test]
    fn what_fails_at_once_costs_one_run() {
        let mut table = table();
        table.rates[0][1] = 1.0;
        assert!(table.cost(0, &[1, 2]).abs() < 1e-9);
        assert!((table.cost(0, &[2, 1]) - 5.0_f64.ln()).abs() < 0.01);
    }

    #[test]
    fn what_counts_less_is_tried_first_and_what_is_left_out_is_not_known() {
        let table = table();
        assert_eq!(table.fitted(None)[..2], [1, 2]);
        assert_eq!(
            table.fitted(Some(0))[0],
            2,
            "the other one tells nothing of it"
        );
    }
}
