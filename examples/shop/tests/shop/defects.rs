//! Each planted defect shows, and does not show in a healthy shop: the same calls to both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, Server};

/// Calls of each caller, of which one is to lock the shop.
const CALLS: usize = 100;
/// Without an answer for so long it is locked.
const STUCK: Duration = Duration::from_secs(2);

/// A healthy shop, and one with this defect.
fn both(defect: &str) -> [Server; 2] {
    [Server::start(""), Server::start(defect)]
}

fn median(mut took: Vec<Duration>) -> f64 {
    took.sort();
    took[took.len() / 2].as_secs_f64()
}

#[test]
fn memory_leak() {
    let [healthy, leaking] = both("memory-leak").map(|server| {
        let mut grown = [0; 2];
        for (round, grown) in grown.iter_mut().enumerate() {
            let before = server.memory();
            for n in 0..150 {
                Client::customer(&server, round as u32 * 150 + n).get("/recommendations");
            }
            *grown = server.memory().saturating_sub(before);
        }
        // The first round warms up.
        grown[1]
    });
    assert!(healthy < 1 << 20, "{healthy} bytes");
    assert!(leaking > 150 * 20_000, "{leaking} bytes");
}

#[test]
fn descriptor_leak() {
    let [healthy, leaking] = both("descriptor-leak").map(|server| {
        let mut client = Client::customer(&server, 1);
        let id = client.buy(1);
        let before = server.descriptors();
        for _ in 0..40 {
            assert_eq!(client.get(&format!("/orders/{id}/receipt")).status, 200);
        }
        server.descriptors().saturating_sub(before)
    });
    assert!(healthy <= 2, "{healthy} descriptors");
    assert!(leaking >= 40, "{leaking} descriptors");
}

#[test]
fn slow_query() {
    let growth = both("slow-query").map(|server| {
        let mut few = Client::customer(&server, 1);
        few.buy(1);
        let mut report = || median((0..5).map(|_| few.get("/reports/sales").took).collect());
        let before = report();
        std::thread::scope(|scope| {
            for customer in 0..20 {
                let mut client = Client::customer(&server, customer);
                scope.spawn(move || {
                    (0..12).for_each(|n| {
                        client.buy(customer * 60 + n);
                    });
                });
            }
        });
        report() - before
    });
    let [healthy_s, growing_s] = growth;
    assert!(
        growing_s > 0.004 && growing_s > 4.0 * healthy_s,
        "healthy {healthy_s} s, growing {growing_s} s"
    );
}

#[test]
fn lock_across_io() {
    let waited = both("lock-across-io").map(|server| {
        std::thread::scope(|scope| {
            let (first, bought) = std::sync::mpsc::channel();
            for customer in 0..6 {
                let (mut client, first) = (Client::customer(&server, customer), first.clone());
                scope.spawn(move || {
                    for n in 0..8 {
                        client.buy(n);
                        // Nobody listens any more after the first.
                        let _ = first.send(());
                    }
                });
            }
            // From now on there is always somebody at the bank.
            bought.recv().expect("somebody buys");
            let mut looks = Client::new(&server);
            median((0..7).map(|_| looks.get("/products/3").took).collect())
        })
    });
    let [healthy_s, locked_s] = waited;
    // Six in a queue, each with 60 ms at the bank.
    assert!(
        locked_s > 0.025 && locked_s > 2.0 * healthy_s,
        "healthy {healthy_s} s, locked {locked_s} s"
    );
}

#[test]
fn crash() {
    let ended = both("crash").map(|mut server| {
        let mut client = Client::customer(&server, 1);
        client.buy(1);
        client.add(2, 1);
        let answer = client.call("POST", "/checkout", r#"{"coupon":"CAFÉ15"}"#);
        let answered = answer.is_ok_and(|answer| answer.status == 201);
        if answered {
            (answered, server.is_running())
        } else {
            (answered, server.wait().success())
        }
    });
    assert_eq!(ended, [(true, true), (false, false)]);
}

#[test]
fn race() {
    let wrong = both("race").map(|server| {
        let mut wrong = 0;
        for customer in 0..30 {
            let mut client = Client::customer(&server, customer);
            let cookie = client.cookie.clone();
            std::thread::scope(|scope| {
                for n in 0..4 {
                    let (mut other, cookie) = (Client::new(&server), cookie.clone());
                    scope.spawn(move || {
                        other.cookie = cookie;
                        assert_eq!(other.add(10 + n, 1).status, 201);
                    });
                }
            });
            let cart = client.get("/cart").json();
            let lines = cart["lines"].as_array().expect("lines").iter();
            let cents = |line: &serde_json::Value| {
                line["price_cents"].as_u64().zip(line["quantity"].as_u64())
            };
            let sum: u64 = lines
                .filter_map(cents)
                .map(|(price, quantity)| price * quantity)
                .sum();
            wrong += u32::from(cart["total_cents"].as_u64() != Some(sum));
        }
        wrong
    });
    assert_eq!(wrong[0], 0);
    assert!(wrong[1] >= 1, "no total was ever wrong");
}

#[test]
fn cpu_blowup() {
    let took = both("cpu-blowup").map(|server| {
        let mut client = Client::new(&server);
        let plain = client.get("/search?q=teapot").took;
        let stars = client.get("/search?q=e*r*a*q").took;
        (plain.as_secs_f64(), stars.as_secs_f64())
    });
    let [(_, healthy_s), (plain_s, blown_s)] = took;
    assert!(
        blown_s > 5.0 * healthy_s && blown_s > 5.0 * plain_s,
        "{took:?}"
    );
}

#[test]
fn deadlock() {
    let [healthy, locked] = both("deadlock").map(|mut server| {
        let answers = AtomicUsize::new(0);
        let clients: Vec<Client> = (0..8).map(|n| Client::customer(&server, n)).collect();
        std::thread::scope(|scope| {
            let answers = &answers;
            let callers = clients.into_iter().map(|mut client| {
                scope.spawn(move || {
                    for n in 0..CALLS {
                        let item = r#"{"product":7,"quantity":1}"#;
                        let path = if n % 8 == 7 { "/logout" } else { "/cart/items" };
                        if client.call("POST", path, item).is_err() {
                            return;
                        }
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                })
            });
            let callers: Vec<_> = callers.collect();
            let mut seen = (0, Instant::now());
            while callers.iter().any(|it| !it.is_finished()) {
                let now = answers.load(Ordering::Relaxed);
                if now != seen.0 {
                    seen = (now, Instant::now());
                } else if seen.1.elapsed() > STUCK {
                    server.kill();
                    return true;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            false
        })
    });
    assert!(!healthy, "a healthy shop answers");
    assert!(locked, "nobody is locked out");
}
