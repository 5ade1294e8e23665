//! Plugins that need others to be started before them.

use std::collections::{HashMap, HashSet};

/// How often those are looked at that could not be started yet.
const ROUNDS: usize = 4;

/// Names, and what each needs.
pub type Plugins = HashMap<&'static str, Vec<&'static str>>;

/// Starts all, each after what it needs. Those that could not be started.
pub fn start(plugins: &Plugins) -> Vec<&'static str> {
    let mut started: HashSet<&str> = HashSet::new();
    for _ in 0..ROUNDS {
        for (name, needs) in plugins {
            if needs.iter().all(|needed| started.contains(needed)) {
                started.insert(name);
            }
        }
    }
    let left = plugins.keys().filter(|name| !started.contains(*name));
    left.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_by_nobody_and_needs_nothing_is_started() {
        let plugins = Plugins::from([("log", vec![]), ("clock", vec![])]);
        assert!(start(&plugins).is_empty());
    }

    #[test]
    fn what_needs_something_that_is_missing_is_left() {
        let plugins = Plugins::from([("log", vec!["files"])]);
        assert_eq!(start(&plugins), ["log"]);
    }

    #[test]
    fn all_are_started() {
        let plugins = Plugins::from([
            ("files", vec![]),
            ("log", vec!["files"]),
            ("database", vec!["log"]),
            ("users", vec!["database"]),
            ("mail", vec!["users"]),
        ]);
        assert_eq!(start(&plugins), [""; 0], "plugins that were not started");
    }
}
