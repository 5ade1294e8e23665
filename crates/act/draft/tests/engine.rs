//! The engine that runs scenario threads takes drafted scripts, and runs them as they are meant.

use std::collections::BTreeMap;

use cohort_draft::{Draft, from_har, from_openapi};
use cohort_scenario::{
    Answer, Birth, Call, Machine, Note, Permit, Reply, Request, Response, Script, Timings,
};

const CHROME: &str = include_str!("files/chrome.har");
const FIREFOX: &str = include_str!("files/firefox.har");
const DESCRIPTIONS: [&str; 3] = [
    include_str!("files/petstore-3.0.json"),
    include_str!("files/petstore-2.0.yaml"),
    include_str!("files/bookings-3.1.yaml"),
];
const BASE: &str = "http://127.0.0.1:9000";

fn load(draft: &Draft, environment: &BTreeMap<String, String>) -> Script {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("draft.js");
    std::fs::write(&path, &draft.script).unwrap();
    let loaded = Script::load(&path, environment);
    loaded.unwrap_or_else(|error| panic!("{error}\n{}", draft.script))
}

fn response(status: u16, kind: &str, body: &str) -> Response {
    Response {
        status,
        proto: "HTTP/1.1".to_owned(),
        headers: vec![("content-type".to_owned(), kind.to_owned())],
        body: body.into(),
        timings: Timings::default(),
        remote_ip: "127.0.0.1".to_owned(),
        remote_port: 9000,
    }
}

/// One iteration: what was sent, and what the script said about it.
fn iterate(
    draft: &Draft,
    environment: &BTreeMap<String, String>,
    server: &dyn Fn(&Request) -> Response,
) -> (Vec<Request>, Vec<Note>) {
    let script = load(draft, environment);
    let birth = Birth {
        env: environment.clone(),
        base_url: BASE.to_owned(),
        ..Birth::default()
    };
    let mut machine = Machine::new(&script, birth).unwrap();
    let (mut sent, mut notes) = (Vec::new(), Vec::new());
    let mut begun = false;
    for at_us in 1.. {
        let reply = match machine.waits_for().cloned() {
            None | Some(Call::Pause { .. }) => Reply::Resume,
            Some(Call::Iterate) if begun => break,
            Some(Call::Iterate) => {
                begun = true;
                Reply::Begin(Permit::default())
            }
            Some(Call::Http(requests)) => {
                let answers = requests.iter().map(|request| Ok(server(request))).collect();
                sent.extend(requests);
                Reply::Responses(answers)
            }
            Some(Call::Sleep { .. }) => Reply::Woken,
            Some(Call::Now) => Reply::Now,
            Some(Call::Ended(ended)) => panic!("{ended:?}"),
        };
        notes.extend(machine.resume(Answer::new(at_us, reply)).notes);
    }
    (sent, notes)
}

fn failed(notes: &[Note]) -> Vec<&Note> {
    let has_failed = |note: &&Note| match note {
        Note::Check { passed, .. } => !passed,
        Note::Iteration { failure, .. } => failure.is_some(),
        Note::Abort { .. } => true,
        Note::Sample(_) | Note::Log { .. } | Note::Group { .. } => false,
    };
    notes.iter().filter(has_failed).collect()
}

#[test]
fn a_recorded_session_runs_with_the_values_of_today() {
    let environment = [
        ("EMAIL", "me@test"),
        ("PASSWORD", "mine"),
        ("COOKIE_REGION", "us"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let server = |request: &Request| {
        let path = request
            .url
            .strip_prefix(BASE)
            .unwrap_or_else(|| panic!("{}", request.url));
        match path {
            "/" => response(
                200,
                "text/html",
                r#"<input type="hidden" name="csrf_token" value="fresh">"#,
            ),
            "/api/login" => response(200, "application/json", r#"{"token":"t0k"}"#),
            "/api/orders" => response(201, "application/json", r#"{"order":{"id":5}}"#),
            "/newsletter" => {
                let mut away = response(302, "text/html", "");
                away.headers
                    .push(("location".to_owned(), "/thanks".to_owned()));
                away
            }
            path if path.starts_with("/api/products?") => response(
                200,
                "application/json",
                r#"{"products":[{"id":"n0"},{"id":"n1"}]}"#,
            ),
            _ => response(200, "text/plain", "fine"),
        }
    };
    let (sent, notes) = iterate(&from_har(CHROME).unwrap(), &environment.into(), &server);
    assert_eq!(failed(&notes), Vec::<&Note>::new());
    let checks = notes
        .iter()
        .filter(|note| matches!(note, Note::Check { .. }));
    assert_eq!(checks.count(), 11);
    let named = |name: &str| sent.iter().find(|request| request.name == name).unwrap();
    let item = named("GET /api/products/{}");
    assert_eq!(item.url, format!("{BASE}/api/products/n1?ref=list"));
    let header = |request: &Request, name: &str| {
        let mut all = request.headers.iter();
        let found = all.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    assert_eq!(header(item, "authorization").as_deref(), Some("Bearer t0k"));
    assert_eq!(header(item, "cookie").as_deref(), Some("region=us"));
    assert_eq!(
        named("GET /api/orders/{}").url,
        format!("{BASE}/api/orders/5")
    );
    assert!(sent.iter().any(|request| request.url.ends_with("/thanks")));
}

#[test]
fn a_recorded_login_by_form_is_sent_as_a_form() {
    let environment = [("USERNAME", "me"), ("PASSWORD", "mi&ne")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let server = |_: &Request| {
        response(
            200,
            "text/html",
            r#"<input type="hidden" name="csrfmiddlewaretoken" value="fresh">"#,
        )
    };
    let (sent, notes) = iterate(&from_har(FIREFOX).unwrap(), &environment.into(), &server);
    assert_eq!(failed(&notes), Vec::<&Note>::new());
    let posts: Vec<&Request> = sent
        .iter()
        .filter(|request| request.method == "POST")
        .collect();
    let login = String::from_utf8(posts[0].body.clone()).unwrap();
    assert_eq!(
        login,
        "csrfmiddlewaretoken=fresh&password=mi%26ne&username=me"
    );
}

#[test]
fn every_description_is_called_at_the_instance() {
    for description in DESCRIPTIONS {
        let draft = from_openapi(description).unwrap();
        let server = |request: &Request| {
            assert!(request.url.starts_with(BASE), "{}", request.url);
            response(200, "application/json", "{}")
        };
        let (sent, notes) = iterate(&draft, &BTreeMap::new(), &server);
        assert_eq!(sent.len(), 1);
        assert!(
            notes
                .iter()
                .any(|note| matches!(note, Note::Iteration { failure: None, .. })),
            "{notes:?}"
        );
    }
}
