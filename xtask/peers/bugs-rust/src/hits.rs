//! How often each route was asked for.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that many handlers share.
#[derive(Default)]
pub struct Hits {
    total: AtomicU64,
    bytes: AtomicU64,
}

impl Hits {
    /// One more request, with an answer of so many bytes.
    pub fn add(&self, bytes: u64) {
        let total = self.total.load(Ordering::Relaxed);
        self.total.store(total + 1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Requests so far.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Mean size of an answer, bytes.
    pub fn mean_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) / self.total().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn one_handler_is_counted() {
        let hits = Hits::default();
        (0..10).for_each(|n| hits.add(n * 100));
        assert_eq!((hits.total(), hits.mean_bytes()), (10, 450));
    }

    #[test]
    fn handlers_are_counted_together() {
        let hits = Arc::new(Hits::default());
        let handlers: Vec<_> = (0..4)
            .map(|handler| {
                let hits = Arc::clone(&hits);
                thread::spawn(move || {
                    for request in 0..40 {
                        let answer = format!("handler {handler}, request {request}");
                        hits.add(answer.len() as u64);
                    }
                })
            })
            .collect();
        for handler in handlers {
            handler.join().expect("a handler ends");
        }
        assert_eq!(hits.total(), 160);
    }
}
