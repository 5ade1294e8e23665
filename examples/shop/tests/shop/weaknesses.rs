//! Each planted weakness shows, and does not show in a healthy shop: the same calls to both.

use crate::client::{Answer, Client, Server};

/// What a healthy shop answers, and one with this weakness.
fn both(weakness: &str, path: &str) -> [Answer; 2] {
    ["", weakness].map(|defects| Client::new(&Server::start(defects)).get(path))
}

#[test]
fn missing_headers() {
    let [healthy, bare] = both("missing-headers", "/health");
    for header in [
        "x-content-type-options: nosniff",
        "content-security-policy: ",
    ] {
        assert!(healthy.head.contains(header), "{healthy:?}");
        assert!(!bare.head.contains(header), "{bare:?}");
    }
}

#[test]
fn traversal() {
    let path = "/leaflets?name=../pay-widget/package-lock.json";
    let [healthy, open] = both("traversal", path);
    assert_eq!((healthy.status, open.status), (404, 200));
    assert!(open.text.contains("lodash"), "{open:?}");
    let [healthy, open] = both("traversal", "/leaflets?name=tea.txt");
    assert_eq!(healthy.text, open.text);
}

#[test]
fn reflected_input() {
    let [healthy, open] = both("reflected-input", "/welcome?name=%3Cb%3E");
    assert!(healthy.text.contains("Welcome, &lt;b&gt;!"), "{healthy:?}");
    assert!(open.text.contains("Welcome, <b>!"), "{open:?}");
}

#[test]
fn open_redirect() {
    for path in [
        "/go?to=https://a.example/",
        "/go?to=//a.example/",
        "/go?to=/%5Ca.example",
    ] {
        let [healthy, open] = both("open-redirect", path);
        assert_eq!((healthy.status, open.status), (400, 303), "{path}");
    }
    let [healthy, open] = both("open-redirect", "/go?to=/categories");
    assert_eq!((healthy.status, open.status), (303, 303));
}

#[test]
fn verbose_error() {
    let [healthy, open] = both("verbose-error", "/leaflets?name=no");
    assert_eq!((healthy.status, open.status), (404, 500));
    assert!(open.text.contains("stack backtrace:"), "{open:?}");
}

#[test]
fn weak_cookie() {
    let [healthy, weak] = ["", "weak-cookie"].map(|defects| {
        let body = r#"{"customer":"customer-1","password":"open-1"}"#;
        Client::new(&Server::start(defects)).post("/login", body)
    });
    assert!(
        healthy.head.contains("; HttpOnly; SameSite=Lax"),
        "{healthy:?}"
    );
    assert!(!weak.head.contains("HttpOnly"), "{weak:?}");
}

#[test]
fn unexpected_listener() {
    let listeners = ["", "unexpected-listener"].map(|defects| {
        let server = Server::start(defects);
        // It has said that it listens, so all it holds is there.
        server.listeners()
    });
    assert_eq!(listeners, [1, 2]);
}

#[test]
fn vulnerable_dependency() {
    let versions = ["", "vulnerable-dependency"].map(|defects| {
        let lock = Server::start(defects).file("pay-widget/package-lock.json");
        lock.contains("4.17.15")
    });
    assert_eq!(versions, [false, true]);
}
