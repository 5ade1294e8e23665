//! A gate that holds everybody until it is opened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

/// Closed at first.
#[derive(Default)]
pub struct Gate {
    open: AtomicBool,
    crowd: Mutex<Vec<String>>,
    opened: Condvar,
}

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.opened.notify_all();
    }

    /// Returns once the gate is open; the how manieth one passed.
    pub fn pass(&self, who: &str) -> usize {
        let mut crowd = self.crowd.lock().expect("not poisoned");
        while !self.open.load(Ordering::SeqCst) {
            let line = format!("{who} waits behind [{}]", crowd.join(", "));
            crowd.push(line);
            crowd = self.opened.wait(crowd).expect("not poisoned");
        }
        crowd.push(format!("{who} passed"));
        crowd.iter().filter(|line| line.ends_with("passed")).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn an_open_gate_holds_nobody() {
        let gate = Gate::default();
        gate.open();
        assert_eq!((gate.pass("ann"), gate.pass("bob")), (1, 2));
    }

    #[test]
    fn everybody_passes_when_it_opens() {
        let gate = Arc::new(Gate::default());
        let visitors: Vec<_> = (0..3)
            .map(|number| {
                let gate = Arc::clone(&gate);
                thread::spawn(move || gate.pass(&format!("visitor {number}")))
            })
            .collect();
        let clerk = Arc::clone(&gate);
        let clerk = thread::spawn(move || clerk.open());
        clerk.join().expect("the clerk opens");
        let mut places: Vec<usize> = Vec::new();
        for visitor in visitors {
            places.push(visitor.join().expect("a visitor passes"));
        }
        places.sort_unstable();
        assert_eq!(places, [1, 2, 3]);
    }
}
