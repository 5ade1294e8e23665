//! Functional areas: endpoints that the same threads call at the same time, more than chance makes
//! them, or that do the same beneath (spans with the same children).
//!
//! Every report of a thread's calls is a basket. Two endpoints are near by their normalized
//! pointwise mutual information over baskets (Bouma 2009: 1 always together, 0 as chance has it);
//! areas are joined by average linkage for as long as the nearest two are near enough.

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{Area, EndpointId, SpanWindow, ThreadId};

/// Endpoints that take part.
const ENDPOINTS_MAX: usize = 96;
/// Baskets that say something, and baskets of an endpoint.
const BASKETS_MIN: f64 = 40.0;
const CALLED_MIN: f64 = 5.0;
/// Nearness from which on two are of one area.
const NEAR: f64 = 0.12;
/// Baskets after which all counts are halved, so that the past fades.
const BASKETS_MAX: f64 = 200_000.0;
/// What having all operations beneath in common adds to nearness.
const SPANS_WEIGHT: f64 = 0.3;

/// What was called together so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Together {
    baskets: f64,
    alone: BTreeMap<u32, f64>,
    pairs: BTreeMap<(u32, u32), f64>,
    /// Operations beneath each operation.
    beneath: BTreeMap<String, BTreeSet<String>>,
}

impl Together {
    pub(super) fn called(&mut self, threads: &[(ThreadId, Vec<(EndpointId, u64)>)]) {
        for (_, calls) in threads {
            let mut basket: Vec<u32> = calls
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(endpoint, _)| endpoint.0)
                .collect();
            basket.sort_unstable();
            basket.dedup();
            basket.retain(|e| self.alone.contains_key(e) || self.alone.len() < ENDPOINTS_MAX);
            if basket.is_empty() {
                continue;
            }
            self.baskets += 1.0;
            for (place, a) in basket.iter().enumerate() {
                *self.alone.entry(*a).or_default() += 1.0;
                for b in &basket[place + 1..] {
                    *self.pairs.entry((*a, *b)).or_default() += 1.0;
                }
            }
        }
        if self.baskets > BASKETS_MAX {
            self.baskets /= 2.0;
            self.alone.values_mut().for_each(|count| *count /= 2.0);
            self.pairs.values_mut().for_each(|count| *count /= 2.0);
        }
    }

    pub(super) fn spans(&mut self, spans: &[SpanWindow]) {
        for span in spans {
            let name = plain(&span.operation);
            if self.beneath.len() >= ENDPOINTS_MAX && !self.beneath.contains_key(&name) {
                continue;
            }
            let known = self.beneath.entry(name).or_default();
            for (child, _) in &span.beneath {
                if known.len() < ENDPOINTS_MAX {
                    known.insert(child.clone());
                }
            }
        }
    }

    fn near(&self, a: u32, b: u32, names: &BTreeMap<u32, String>) -> f64 {
        let count = |e: u32| self.alone.get(&e).copied().unwrap_or(0.0);
        let both = self
            .pairs
            .get(&(a.min(b), a.max(b)))
            .copied()
            .unwrap_or(0.0);
        // Half a basket more: none together is unlikely, not impossible.
        let joint = (both + 0.5) / (self.baskets + 1.0);
        let chance = (count(a) / self.baskets) * (count(b) / self.baskets);
        let information = (joint / chance.max(1e-12)).ln() / -joint.ln().min(-1e-9);
        information + SPANS_WEIGHT * self.alike(a, b, names)
    }

    /// Share of operations beneath that both have (Jaccard).
    fn alike(&self, a: u32, b: u32, names: &BTreeMap<u32, String>) -> f64 {
        let beneath = |e: u32| self.beneath.get(&plain(names.get(&e)?));
        let (Some(a), Some(b)) = (beneath(a), beneath(b)) else {
            return 0.0;
        };
        let union = a.union(b).count();
        if union == 0 {
            0.0
        } else {
            a.intersection(b).count() as f64 / union as f64
        }
    }

    /// The areas now; endpoints that were hardly called are in none.
    pub(super) fn areas(&self, names: &BTreeMap<u32, String>) -> Vec<Area> {
        if self.baskets < BASKETS_MIN {
            return Vec::new();
        }
        let mut groups: Vec<Vec<u32>> = self
            .alone
            .iter()
            .filter(|(_, count)| **count >= CALLED_MIN)
            .map(|(endpoint, _)| vec![*endpoint])
            .collect();
        while let Some((a, b)) = self.nearest(&groups, names) {
            let joined = groups.remove(b);
            groups[a].extend(joined);
            groups[a].sort_unstable();
        }
        self.named(groups, names)
    }

    /// The two groups that are nearest, when near enough.
    fn nearest(
        &self,
        groups: &[Vec<u32>],
        names: &BTreeMap<u32, String>,
    ) -> Option<(usize, usize)> {
        let mut best = (NEAR, None);
        for (a, one) in groups.iter().enumerate() {
            for (b, other) in groups.iter().enumerate().skip(a + 1) {
                let sum: f64 = one
                    .iter()
                    .flat_map(|x| other.iter().map(move |y| (*x, *y)))
                    .map(|(x, y)| self.near(x, y, names))
                    .sum();
                let mean = sum / (one.len() * other.len()) as f64;
                if mean > best.0 {
                    best = (mean, Some((a, b)));
                }
            }
        }
        best.1
    }

    /// By the first part of the path that most of its endpoints share; the same name only once.
    fn named(&self, groups: Vec<Vec<u32>>, names: &BTreeMap<u32, String>) -> Vec<Area> {
        let mut taken = BTreeSet::new();
        groups
            .into_iter()
            .map(|group| {
                let mut parts: BTreeMap<String, f64> = BTreeMap::new();
                for endpoint in &group {
                    let weight = self.alone.get(endpoint).copied().unwrap_or(0.0);
                    let part = names.get(endpoint).map_or_else(
                        || EndpointId(*endpoint).to_string(),
                        |name| first_part(name),
                    );
                    *parts.entry(part).or_default() += 1.0 + weight / self.baskets;
                }
                let mut ranked: Vec<(String, f64)> = parts.into_iter().collect();
                ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
                let base = ranked
                    .iter()
                    .map(|(part, _)| part)
                    .find(|part| !taken.contains(*part))
                    .or(ranked.first().map(|(part, _)| part))
                    .cloned()
                    .unwrap_or_default();
                let mut name = base.clone();
                let mut number = 2;
                while !taken.insert(name.clone()) {
                    name = format!("{base} {number}");
                    number += 1;
                }
                Area {
                    name,
                    endpoints: group.into_iter().map(EndpointId).collect(),
                }
            })
            .collect()
    }
}

fn first_part(name: &str) -> String {
    let path = name.split_whitespace().last().unwrap_or(name);
    path.split('/')
        .find(|part| !part.is_empty() && *part != "api" && *part != "v1" && *part != "{}")
        .unwrap_or("/")
        .to_owned()
}

/// A route with its variable parts alike: `{id}`, `:id` and `<id>` are `{}`.
fn plain(name: &str) -> String {
    name.split('/')
        .map(|part| {
            let variable = part.starts_with('{') || part.starts_with(':') || part.starts_with('<');
            if variable { "{}" } else { part }
        })
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(thread: u32, endpoints: &[u32]) -> (ThreadId, Vec<(EndpointId, u64)>) {
        let calls = endpoints.iter().map(|e| (EndpointId(*e), 1)).collect();
        (ThreadId(thread), calls)
    }

    fn names() -> BTreeMap<u32, String> {
        [
            "GET /items",
            "GET /items/{}",
            "POST /cart",
            "GET /cart",
            "GET /admin/users",
        ]
        .iter()
        .enumerate()
        .map(|(n, name)| (n as u32, (*name).to_owned()))
        .collect()
    }

    #[test]
    fn what_is_called_together_is_an_area() {
        let mut together = Together::default();
        for n in 0..100 {
            together.called(&[
                calls(1, &[0, 1]),
                calls(2, &[2, 3]),
                calls(3, if n % 5 == 0 { &[4] } else { &[0] }),
            ]);
        }
        let areas = together.areas(&names());
        let found: Vec<(&str, usize)> = areas
            .iter()
            .map(|a| (a.name.as_str(), a.endpoints.len()))
            .collect();
        assert_eq!(found, [("items", 2), ("cart", 2), ("admin", 1)]);
    }

    #[test]
    fn few_calls_make_no_area() {
        let mut together = Together::default();
        together.called(&[calls(1, &[0, 1])]);
        assert!(together.areas(&names()).is_empty());
    }

    #[test]
    fn spans_tell_what_does_the_same_beneath() {
        let span = |operation: &str| SpanWindow {
            operation: operation.to_owned(),
            calls: 1,
            errors: 0,
            sum_us: 1,
            longest_us: 1,
            beneath: vec![("SELECT items".to_owned(), 1)],
        };
        let mut together = Together::default();
        // Together as often as chance has it.
        for _ in 0..50 {
            together.called(&[
                calls(1, &[0]),
                calls(2, &[1]),
                calls(3, &[0, 1]),
                calls(4, &[2]),
            ]);
        }
        assert_eq!(together.areas(&names()).len(), 3);
        together.spans(&[span("GET /items"), span("GET /items/{id}")]);
        assert_eq!(together.areas(&names()).len(), 2);
    }
}
