//! Sessions that are loaded from a store when they are first asked for.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Sessions by the user's name.
pub struct Sessions<F> {
    loaded: Mutex<BTreeMap<String, String>>,
    load: F,
}

impl<F: Fn(&str) -> String> Sessions<F> {
    /// With a function that loads one.
    pub fn new(load: F) -> Self {
        let loaded = Mutex::default();
        Sessions { loaded, load }
    }

    /// The user's session.
    pub fn get(&self, user: &str) -> String {
        if let Some(session) = self.loaded.lock().expect("not poisoned").get(user) {
            return session.clone();
        }
        let session = (self.load)(user);
        let mut loaded = self.loaded.lock().expect("not poisoned");
        loaded.insert(user.to_owned(), session.clone());
        session
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    #[test]
    fn a_session_is_kept() {
        let loads = AtomicU32::new(0);
        let sessions =
            Sessions::new(|user| format!("{user} {}", loads.fetch_add(1, Ordering::SeqCst)));
        assert_eq!(sessions.get("ann"), sessions.get("ann"));
        assert_ne!(sessions.get("ann"), sessions.get("bob"));
    }

    #[test]
    fn a_session_is_loaded_once() {
        let loads = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&loads);
        let sessions = Arc::new(Sessions::new(move |user: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            format!("session of {user}")
        }));
        let requests: Vec<_> = (0..3)
            .map(|_| {
                let sessions = Arc::clone(&sessions);
                thread::spawn(move || sessions.get("ann"))
            })
            .collect();
        for request in requests {
            assert_eq!(request.join().expect("it ends"), "session of ann");
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1, "loads of one session");
    }
}
