//! Accounts, and money that is moved between them.

use std::sync::Mutex;

/// What somebody has, in cents.
pub struct Account {
    balance: Mutex<i64>,
}

impl Account {
    /// With so much on it.
    pub fn new(balance: i64) -> Self {
        let balance = Mutex::new(balance);
        Account { balance }
    }

    /// What is on it.
    pub fn balance(&self) -> i64 {
        *self.balance.lock().expect("not poisoned")
    }
}

/// Moves money, if there is enough.
pub fn transfer(from: &Account, to: &Account, amount: i64) -> bool {
    let mut source = from.balance.lock().expect("not poisoned");
    if *source < amount {
        return false;
    }
    let mut target = to.balance.lock().expect("not poisoned");
    *source -= amount;
    *target += amount;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn nothing_is_moved_from_an_empty_account() {
        let (poor, rich) = (Account::new(0), Account::new(100));
        assert!(!transfer(&poor, &rich, 1));
        assert!(transfer(&rich, &poor, 40));
        assert_eq!((poor.balance(), rich.balance()), (40, 60));
    }

    #[test]
    fn money_goes_both_ways() {
        let (ann, bob) = (Arc::new(Account::new(1000)), Arc::new(Account::new(1000)));
        let (done, ends) = mpsc::channel();
        for (from, to) in [(&ann, &bob), (&bob, &ann)] {
            let (from, to, done) = (Arc::clone(from), Arc::clone(to), done.clone());
            thread::spawn(move || {
                for _ in 0..12 {
                    transfer(&from, &to, 5);
                }
                done.send(()).expect("somebody waits");
            });
        }
        for _ in 0..2 {
            let end = ends.recv_timeout(Duration::from_secs(1));
            end.expect("the transfers end");
        }
        assert_eq!(ann.balance() + bob.balance(), 2000);
    }
}
