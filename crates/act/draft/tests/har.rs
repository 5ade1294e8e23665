//! Recordings as browsers save them become scripts, which are run against an imagined service.

mod support;

use cohort_draft::from_har;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Service, failed_checks, requests};

const CHROME: &str = include_str!("files/chrome.har");
const FIREFOX: &str = include_str!("files/firefox.har");

#[test]
fn scripts_of_recordings_are_as_they_were_read_last() {
    let kept = [
        (CHROME, include_str!("files/chrome.har.js")),
        (FIREFOX, include_str!("files/firefox.har.js")),
    ];
    for (recording, script) in kept {
        let draft = from_har(recording).unwrap();
        // When it should change: `cargo run -p cohort-draft --example draft -- FILE > FILE.js`.
        assert_eq!(draft.script, script);
        assert_eq!(from_har(recording).unwrap(), draft);
    }
}

#[test]
fn a_shop_recorded_by_chrome_sells_to_others_too() {
    let draft = from_har(CHROME).unwrap();
    let service = Service {
        environment: &[
            ("BASE_URL", "http://127.0.0.1:9000/"),
            ("EMAIL", "me@test"),
            ("PASSWORD", "mine"),
            ("X_API_KEY", "k/1"),
            ("COOKIE_REGION", "us"),
        ],
        answers: r#"(method, url) => {
            if (url.endsWith(':9000/')) return { status: 200, body: '<input name="q"><input type="hidden" name="csrf_token" value="fresh">' };
            if (url.includes('/api/products?')) return { status: 200, body: '{"products":[{"id":"new-0"},{"id":"new-1"}]}' };
            if (url.endsWith('/login')) return { status: 200, body: '{"token":"t0k"}' };
            if (url.endsWith('/orders')) return { status: 201, body: '{"order":{"id":5}}' };
        }"#,
    };
    let logged = service.run(&draft.script, "default");
    let base = "http://127.0.0.1:9000";
    let expected = [
        "GET /",
        "GET /static/app.css",
        "GET /static/app.js?v=3",
        "GET /static/lamp.webp",
        "GET /favicon.ico",
        "GET /api/products?limit=20&sort=price",
        "POST /api/login",
        "GET /api/products/new-1?ref=list",
        "POST /api/orders",
        "GET /api/orders/5",
        "POST /newsletter",
    ];
    let expected = expected.map(|line| line.replacen(" /", &format!(" {base}/"), 1));
    assert_eq!(requests(&logged), expected);
    assert_eq!(failed_checks(&logged), Vec::<&Value>::new());
    let sent = |path: &str, method: &str| {
        let of =
            |entry: &&Value| entry["url"] == format!("{base}{path}") && entry["method"] == method;
        logged.iter().find(of).unwrap().clone()
    };
    let body =
        |entry: &Value| serde_json::from_str::<Value>(entry["body"].as_str().unwrap()).unwrap();
    let login = sent("/api/login", "POST");
    assert_eq!(
        body(&login),
        json!({ "email": "me@test", "password": "mine", "remember": true })
    );
    assert_eq!(login["params"]["headers"]["x-csrf-token"], "fresh");
    let order = sent("/api/orders", "POST");
    assert_eq!(body(&order)["productId"], "new-1");
    assert_eq!(body(&order)["note"], "it's `urgent` ${now}\n");
    assert_eq!(order["params"]["headers"]["authorization"], "Bearer t0k");
    assert_eq!(order["params"]["headers"]["x-api-key"], "k/1");
    let key = order["params"]["headers"]["idempotency-key"]
        .as_str()
        .unwrap();
    assert!(key.len() == 36 && !CHROME.contains(key), "{key}");
    let letter = sent("/newsletter", "POST");
    assert_eq!(letter["body"], "list=a&list=b&api_key=k%2F1&order=5");
    assert_eq!(
        sent("/api/orders/5", "GET")["params"]["tags"]["name"],
        "GET /api/orders/{}"
    );
    assert_eq!(logged[0], json!({ "cookie": "region", "value": "us" }));
    let pauses = logged.iter().filter_map(|entry| entry.get("sleep"));
    assert_eq!(
        pauses.collect::<Vec<_>>(),
        [&json!(4), &json!(4.5), &json!(2.5), &json!(1)]
    );
}

#[test]
fn a_forum_recorded_by_firefox_is_logged_into() {
    let draft = from_har(FIREFOX).unwrap();
    let service = Service {
        environment: &[("USERNAME", "me"), ("PASSWORD", "mine")],
        answers: r#"(method, url) => ({ status: 200, body: '<input type="hidden" name="csrfmiddlewaretoken" value="fresh">' })"#,
    };
    let logged = service.run(&draft.script, "default");
    assert_eq!(failed_checks(&logged), Vec::<&Value>::new());
    let posts = logged.iter().filter(|entry| entry["method"] == "POST");
    let bodies: Vec<&Value> = posts.map(|entry| &entry["body"]).collect();
    let login = json!({ "csrfmiddlewaretoken": "fresh", "username": "me", "password": "mine" });
    assert_eq!(bodies[0], &login);
    assert!(
        bodies[1]
            .as_str()
            .unwrap()
            .contains("\r\n\r\nCaf\u{e9}\r\n")
    );
    assert!(
        draft
            .notes
            .iter()
            .any(|note| note.contains("https://fonts.gstatic.com"))
    );
}

#[test]
fn a_token_in_the_address_of_a_page_is_nowhere() {
    let token = "eyJhbGciOiJI.eyJzdWIiOiI0.c2lnbmF0dXJl";
    let address = format!("http://a.test/reset/{token}?next={token}");
    let entry = json!({
        "pageref": "p",
        "request": { "method": "GET", "url": address },
        "response": { "status": 200, "content": { "mimeType": "text/html" } },
    });
    let pages = [json!({ "id": "p", "title": address })];
    let recording = json!({ "log": { "pages": pages, "entries": [entry] } });
    let draft = from_har(&recording.to_string()).unwrap();
    assert!(!draft.script.contains("eyJ"), "{}", draft.script);
    let service = Service {
        environment: &[("NEXT", "a.b")],
        answers: "() => undefined",
    };
    let logged = service.run(&draft.script, "default");
    assert_eq!(requests(&logged), ["GET http://a.test/reset/a.b?next=a.b"]);
    assert_eq!(logged[0], json!({ "group": "/reset/{}" }));
}

#[test]
fn nothing_secret_is_in_a_script() {
    let secrets = [
        "correct horse",
        "ada@example.com",
        "abcdefgh12345678",
        "eyJ",
        "pk_live",
        "f00dbabe",
        "eu-central-north",
        "hunter2",
        "grace",
        "s3ss10n",
        "Zk3o9vQ1",
    ];
    for recording in [CHROME, FIREFOX] {
        let draft = from_har(recording).unwrap();
        for secret in secrets {
            assert!(!draft.script.contains(secret), "{secret}");
        }
        for variable in &draft.variables {
            assert!(draft.script.contains(&format!("__ENV.{}", variable.name)));
        }
    }
}

#[test]
fn a_broken_recording_is_told_with_its_place() {
    let told = |text: &str| from_har(text).unwrap_err().to_string();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(CHROME).unwrap();
        change(&mut value);
        told(&value.to_string())
    };
    let half = told(&CHROME[..CHROME.len() / 2]);
    assert!(
        half.starts_with("line ") && half.contains("EOF") && half.contains("HAR"),
        "{half}"
    );
    assert!(told("").contains("line 1, column 0"), "{}", told(""));
    assert!(told("<html>").contains("line 1, column 1"));
    assert_eq!(told("[]").split(": ").next(), Some("log"));
    let entries = told(r#"{"log": {"entries": 3}}"#);
    assert_eq!(entries, "log.entries: expected a list, found a number");
    assert!(told(r#"{"log": {"entries": []}}"#).contains("nothing was recorded"));
    let url = changed(&|value| value["log"]["entries"][3]["request"]["url"] = json!(7));
    assert!(
        url.starts_with("log.entries[3].request.url: expected an address"),
        "{url}"
    );
    let url = changed(&|value| value["log"]["entries"][3]["request"]["url"] = json!("/a"));
    assert!(
        url.starts_with("log.entries[3].request.url: \"/a\" is not"),
        "{url}"
    );
    let method = changed(&|value| value["log"]["entries"][0]["request"]["method"] = json!("G'T"));
    assert!(
        method.starts_with("log.entries[0].request.method"),
        "{method}"
    );
    let unanswered = changed(&|value| {
        for entry in value["log"]["entries"].as_array_mut().unwrap() {
            entry["response"]["status"] = json!(0);
        }
    });
    assert!(
        unanswered.contains("none of 17 requests was answered"),
        "{unanswered}"
    );
}

/// A recording of one request.
fn recording(title: &str, path: &str, header: &str, kind: &str, body: &str) -> String {
    let mut url = "http://a.test".parse::<url::Url>().unwrap();
    url.set_path(path);
    json!({ "log": { "pages": [{ "id": "p", "title": title }], "entries": [{
        "pageref": "p",
        "startedDateTime": "2024-01-01T00:00:00Z",
        "time": 5,
        "request": {
            "method": "POST", "url": url.as_str(),
            "headers": [{ "name": "X-Note", "value": header }],
            "postData": { "mimeType": kind, "text": body },
        },
        "response": { "status": 200, "content": { "mimeType": "application/json" } },
    }] } })
    .to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_recorded_is_sent_and_nothing_becomes_code(
        title in ".*", path in "[^\\\\]{0,30}", header in ".*", text in "(?s).{1,60}", plain in any::<bool>()
    ) {
        let (kind, body) = if plain {
            ("text/plain", text.clone())
        } else {
            ("application/json", json!({ "a": text, "__proto__": [1] }).to_string())
        };
        let draft = from_har(&recording(&title, &path, &header, kind, &body)).unwrap();
        let service = Service { environment: &[], answers: "() => undefined" };
        let logged = service.run(&draft.script, "default");
        let sent = logged.iter().find(|entry| entry["method"] == "POST").unwrap();
        let sent_body = sent["body"].as_str().unwrap();
        if plain {
            prop_assert_eq!(sent_body, text);
        } else {
            let sent_body: Value = serde_json::from_str(sent_body).unwrap();
            prop_assert_eq!(sent_body, serde_json::from_str::<Value>(&body).unwrap());
        }
        prop_assert_eq!(&sent["params"]["headers"]["x-note"], &json!(header));
        let mut url = "http://a.test".parse::<url::Url>().unwrap();
        url.set_path(&path);
        prop_assert_eq!(sent["url"].as_str().unwrap(), url.as_str());
    }

    #[test]
    fn any_text_is_a_script_or_an_error(text in "(?s).{0,200}", at in 0_usize..30_000, end in any::<bool>()) {
        let _ = from_har(&text);
        let mut bytes = CHROME.as_bytes().to_vec();
        let at = at % bytes.len();
        if end {
            bytes.truncate(at);
        } else {
            bytes.splice(at..(at + 9).min(bytes.len()), text.bytes().take(9));
        }
        let _ = from_har(&String::from_utf8_lossy(&bytes));
    }
}
