//! Small programs with a race each, which hardly ever shows. Exit code 1 when it does.
//!
//! `racy KIND`, where KIND is one of those at the end.

use std::collections::HashMap;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// Two threads add to a number without excluding each other.
fn lost_update() -> bool {
    let number = Arc::new(AtomicU64::new(0));
    let threads = [0, 1].map(|_| {
        let number = number.clone();
        spawn(move || {
            for _ in 0..50 {
                number.store(number.load(SeqCst) + 1, SeqCst);
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    number.load(SeqCst) != 100
}

/// Two threads look whether there is enough, and then take it, under a lock each time.
fn check_then_act() -> bool {
    let money = Arc::new(Mutex::new(100_i64));
    let threads = [0, 1].map(|_| {
        let money = money.clone();
        spawn(move || {
            let there = *money.lock().unwrap();
            if there >= 100 {
                *money.lock().unwrap() -= 100;
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    let left = *money.lock().unwrap();
    left < 0
}

/// A value is put into a cache by whoever finds it missing: it must be made once only.
fn made_twice() -> bool {
    let cache = Arc::new(Mutex::new(HashMap::new()));
    let made = Arc::new(AtomicU64::new(0));
    let threads = [0, 1, 2].map(|_| {
        let (cache, made) = (cache.clone(), made.clone());
        spawn(move || {
            let missing = !cache.lock().unwrap().contains_key("key");
            if missing {
                made.fetch_add(1, SeqCst);
                cache.lock().unwrap().insert("key", 1);
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    made.load(SeqCst) != 1
}

/// Two threads take two locks, each in its own order.
fn lock_order() -> bool {
    let locks = Arc::new([Mutex::new(0), Mutex::new(0)]);
    let (done, wait) = channel();
    for turn in [0, 1] {
        let (locks, done) = (locks.clone(), done.clone());
        spawn(move || {
            for _ in 0..5 {
                let mut first = locks[turn].lock().unwrap();
                let mut second = locks[1 - turn].lock().unwrap();
                *first += 1;
                *second += 1;
            }
            done.send(()).unwrap();
        });
    }
    let limit = Duration::from_millis(1000);
    (0..2).any(|_| wait.recv_timeout(limit).is_err())
}

/// A thread waits to be told, without looking whether it was told already.
fn missed_wakeup() -> bool {
    let pair = Arc::new((Mutex::new(()), Condvar::new()));
    let (done, wait) = channel();
    let other = pair.clone();
    spawn(move || {
        let guard = other.0.lock().unwrap();
        drop(other.1.wait(guard).unwrap());
        done.send(()).unwrap();
    });
    sleep(Duration::from_millis(2));
    pair.1.notify_one();
    wait.recv_timeout(Duration::from_millis(1000)).is_err()
}

/// What another thread does is waited for by sleeping long enough.
fn sleep_wait() -> bool {
    let ready = Arc::new(AtomicBool::new(false));
    let other = ready.clone();
    let thread = spawn(move || other.store(true, SeqCst));
    sleep(Duration::from_millis(5));
    let seen = ready.load(SeqCst);
    thread.join().unwrap();
    !seen
}

/// Messages of two senders are expected in the order in which the senders were started.
fn message_order() -> bool {
    let (send, receive) = channel();
    for number in [1, 2] {
        let send = send.clone();
        spawn(move || send.send(number).unwrap());
    }
    drop(send);
    receive.iter().collect::<Vec<_>>() != [1, 2]
}

/// Two threads make a file where there is none.
fn file_made_twice() -> bool {
    let path = std::env::temp_dir().join(format!("racy-{}", std::process::id()));
    let path = Arc::new(path);
    let made = Arc::new(AtomicU64::new(0));
    let threads = [0, 1].map(|_| {
        let (path, made) = (path.clone(), made.clone());
        spawn(move || {
            if !path.exists() {
                std::fs::write(&*path, "x").unwrap();
                made.fetch_add(1, SeqCst);
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    std::fs::remove_file(&*path).unwrap();
    made.load(SeqCst) != 1
}

/// Says in which order a map has its keys; it has no race.
fn hash_order() -> bool {
    let map: HashMap<i32, ()> = (0..20).map(|key| (key, ())).collect();
    println!("{:?}", map.keys().collect::<Vec<_>>());
    false
}

/// Computes on so many threads, to be timed; it has no race.
fn compute(threads: u64) -> bool {
    let threads: Vec<_> = (0..threads)
        .map(|seed| {
            spawn(move || {
                let mut value = seed + 1;
                for _ in 0..150_000_000_u64 {
                    value ^= value << 13;
                    value ^= value >> 7;
                    value ^= value << 17;
                }
                value
            })
        })
        .collect();
    let sum: u64 = (threads.into_iter())
        .map(|thread| thread.join().unwrap() & 1)
        .sum();
    sum > 1_000_000
}

fn main() {
    let failed = match std::env::args().nth(1).as_deref() {
        Some("lost_update") => lost_update(),
        Some("check_then_act") => check_then_act(),
        Some("made_twice") => made_twice(),
        Some("lock_order") => lock_order(),
        Some("missed_wakeup") => missed_wakeup(),
        Some("sleep_wait") => sleep_wait(),
        Some("message_order") => message_order(),
        Some("file_made_twice") => file_made_twice(),
        Some("hash_order") => hash_order(),
        Some("compute_1") => compute(1),
        Some("compute_2") => compute(2),
        other => {
            eprintln!("{other:?} is none of the kinds");
            exit(2);
        }
    };
    exit(i32::from(failed));
}
