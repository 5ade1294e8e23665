//! Answers that are kept for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Answers by question.
pub struct Cache {
    kept: BTreeMap<String, (Instant, String)>,
    lifetime: Duration,
}

impl Cache {
    /// Each is kept that long.
    pub fn new(lifetime: Duration) -> Self {
        let kept = BTreeMap::new();
        Cache { kept, lifetime }
    }

    /// Keeps one.
    pub fn put(&mut self, question: &str, answer: String) {
        self.kept
            .insert(question.to_owned(), (Instant::now(), answer));
    }

    /// One that is kept still.
    pub fn get(&self, question: &str) -> Option<&str> {
        let (since, answer) = self.kept.get(question)?;
        (since.elapsed() < self.lifetime).then_some(answer.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(number: u32) -> String {
        (0..number)
            .map(|digit| char::from(b'0' + (digit * digit % 10) as u8))
            .collect()
    }

    #[test]
    fn nothing_is_kept_without_a_lifetime() {
        let mut cache = Cache::new(Duration::ZERO);
        cache.put("a", "b".into());
        assert_eq!(cache.get("a"), None);
    }

    #[test]
    fn answers_are_kept() {
        let mut cache = Cache::new(Duration::from_millis(2));
        for number in 0..50 {
            cache.put(&number.to_string(), digits(number * 10));
        }
        for number in 0..50 {
            assert_eq!(
                cache.get(&number.to_string()),
                Some(digits(number * 10).as_str())
            );
        }
    }
}
