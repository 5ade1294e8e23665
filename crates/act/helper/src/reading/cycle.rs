//! Threads that wait for each other in a circle, by who owns which lock.

use std::collections::BTreeMap;

use cohort_symptom::stacks::{Stood, threads};

/// What begins a line that names a thread, the lock that it waits for, and that lock's owner.
const LOCK: &str = "Lock: ";

/// One thread of a circle: where it stands, and which lock it waits for.
#[derive(Debug, PartialEq)]
pub(super) struct Link {
    pub(super) thread: i32,
    pub(super) stood: Stood,
    pub(super) lock: String,
}

/// The circle in one look, each waiting for a lock that the next owns; the thread of the lowest number first. `None` when there
/// is none, or owners are not known.
pub(super) fn cycle(look: &str) -> Option<Vec<Link>> {
    let waits: BTreeMap<i32, (&str, i32)> = look.lines().filter_map(waits).collect();
    let (&first, _) = waits
        .iter()
        .find(|(thread, _)| is_in_circle(&waits, **thread))?;
    let mut stacks = stacks(look);
    let mut links = Vec::new();
    let mut thread = first;
    loop {
        let (lock, owner) = waits.get(&thread)?;
        links.push(Link {
            thread,
            stood: stacks.remove(&thread)?,
            lock: (*lock).to_owned(),
        });
        thread = *owner;
        if thread == first {
            return Some(links);
        }
    }
}

/// `Lock: 4711 0x7f00dead 4712`
fn waits(line: &str) -> Option<(i32, (&str, i32))> {
    let mut words = line.strip_prefix(LOCK)?.split_whitespace();
    let thread = words.next()?.parse().ok()?;
    let lock = words.next()?;
    let owner = words.next()?.parse().ok()?;
    Some((thread, (lock, owner)))
}

fn is_in_circle(waits: &BTreeMap<i32, (&str, i32)>, thread: i32) -> bool {
    let mut at = thread;
    for _ in 0..waits.len() {
        match waits.get(&at) {
            // One that waits for itself as well.
            Some((_, owner)) if *owner == thread => return true,
            Some((_, owner)) => at = *owner,
            None => return false,
        }
    }
    false
}

/// Where threads stand, by their numbers of the kernel's.
fn stacks(look: &str) -> BTreeMap<i32, Stood> {
    let mut texts: BTreeMap<i32, String> = BTreeMap::new();
    let mut thread = 0;
    for line in look.lines() {
        if line.starts_with("Thread ") {
            let number = line.split_once("LWP ").map(|(_, rest)| rest);
            let number = number.and_then(|it| it.split(|it: char| !it.is_ascii_digit()).next());
            thread = number.and_then(|it| it.parse().ok()).unwrap_or(0);
        }
        let text = texts.entry(thread).or_default();
        text.push_str(line);
        text.push('\n');
    }
    let stood = texts
        .into_iter()
        .map(|(thread, text)| (thread, threads(&text)));
    stood
        .filter_map(|(thread, mut stood)| Some((thread, stood.pop()?)))
        .collect()
}
