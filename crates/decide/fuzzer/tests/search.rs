//! What is found in servers that are simulated, and after how many requests.

use cohort_fuzzer::{Answer, Fuzzer, Hints, Request};
use serde_json::Value;

fn post(url: &str, body: &str) -> Request {
    Request {
        method: "POST".to_owned(),
        url: url.to_owned(),
        headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
        body: body.as_bytes().to_vec(),
    }
}

fn usual(status: u16) -> Answer {
    Answer {
        status,
        took_us: 900,
        ..Answer::default()
    }
}

/// Takes the first bytes of a text for its first letters.
fn cuts(request: &Request) -> Answer {
    let Ok(json) = serde_json::from_slice::<Value>(&request.body) else {
        return usual(400);
    };
    match json.get("coupon").and_then(Value::as_str) {
        None => usual(422),
        Some(coupon) if coupon.len() >= 5 && !coupon.is_char_boundary(4) => Answer {
            broke: true,
            ..Answer::default()
        },
        Some(_) => usual(201),
    }
}

fn requests_until_broken(seed: u64) -> Option<u64> {
    let mut fuzzer = Fuzzer::new(seed, Hints::default());
    let coupon = post("/checkout", r#"{"coupon": "SAVE10"}"#);
    let item = post("/items", r#"{"product": 7, "quantity": 2}"#);
    let login = post("/login", r#"{"name": "x", "password": "y"}"#);
    let coupon_at = fuzzer.add("POST /checkout", &coupon, &usual(201))?;
    fuzzer.add("POST /items", &item, &usual(201))?;
    fuzzer.add("POST /login", &login, &usual(200))?;
    let requests = [coupon, item, login];
    for count in 0..6_000 {
        let trial = fuzzer.draw()?;
        let mut sent = requests[trial.example].clone();
        trial.edits.iter().for_each(|edit| edit.apply(&mut sent));
        let answer = match trial.example == coupon_at {
            true => cuts(&sent),
            false => usual(if sent.body.len().is_multiple_of(2) {
                400
            } else {
                200
            }),
        };
        fuzzer.learn(trial.number, &answer);
        if answer.broke {
            return Some(count);
        }
    }
    None
}

#[test]
fn a_letter_cut_in_its_middle_is_found_whatever_the_seed() {
    let mut all: Vec<u64> = (0..40)
        .map(|seed| requests_until_broken(seed).unwrap_or(u64::MAX))
        .collect();
    all.sort_unstable();
    assert!(all[38] < 1_000, "{all:?}");
}

#[test]
fn the_same_seed_gives_the_same_requests() {
    let trials = |seed| {
        let mut fuzzer = Fuzzer::new(seed, Hints::default());
        fuzzer.add(
            "POST /x",
            &post("/x?page=2", r#"{"a": ["b"]}"#),
            &usual(200),
        );
        (0..300)
            .map(|_| {
                let trial = fuzzer.draw().unwrap();
                fuzzer.learn(trial.number, &usual(200 + (trial.number % 7) as u16));
                trial
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(trials(1), trials(1));
    assert_ne!(trials(1), trials(2));
}

#[test]
fn a_place_that_breaks_the_server_is_left_alone_after_a_while() {
    let mut fuzzer = Fuzzer::new(1, Hints::default());
    fuzzer.add("POST /x", &post("/x", "text"), &usual(200));
    let mut count = 0;
    while let Some(trial) = fuzzer.draw() {
        fuzzer.learn(
            trial.number,
            &Answer {
                broke: true,
                ..Answer::default()
            },
        );
        count += 1;
    }
    assert!((1..=10).contains(&count), "{count}");
}

#[test]
fn values_of_a_description_are_tried_where_it_names_them() {
    let document = serde_json::json!({"paths": {"/x": {"post": {"parameters": [
        {"name": "page", "in": "query", "schema": {"enum": ["only-this"]}}
    ]}}}});
    let mut fuzzer = Fuzzer::new(5, Hints::of_openapi(&document));
    fuzzer.add(
        "GET /x",
        &Request {
            url: "/x?page=2".to_owned(),
            ..Request::default()
        },
        &usual(200),
    );
    let tried = (0..60).filter_map(|_| fuzzer.draw()).any(|trial| {
        let mut sent = Request {
            url: "/x?page=2".to_owned(),
            ..Request::default()
        };
        trial.edits.iter().for_each(|edit| edit.apply(&mut sent));
        sent.url == "/x?page=only-this"
    });
    assert!(tried);
}
