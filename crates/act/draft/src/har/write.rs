//! The script of a recording.

use std::fmt::Write;

use super::body;
use super::carry::{Carried, Place};
use super::helpers::helpers;
use super::plan::{Group, Step};
use super::secrets::{self, Cookie, header_secret};
use super::select::{Chosen, Selected, is_redirect};
use crate::js::{Js, Text, quoted};
use crate::script::{Call, Script};
use crate::secret::is_secret_name;
use crate::{Draft, percent_decoded};

/// Secrets shorter than this are replaced only where a name tells that they are.
const SECRET_LENGTH_MIN: usize = 8;
/// Headers that the driver makes itself, or that tell about a browser and not about a request.
const UNNEEDED: [&str; 22] = [
    "accept-encoding",
    "accept-language",
    "age",
    "authority",
    "cache-control",
    "connection",
    "content-length",
    "cookie",
    "dnt",
    "forwarded",
    "host",
    "if-modified-since",
    "if-none-match",
    "keep-alive",
    "origin",
    "pragma",
    "priority",
    "referer",
    "te",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
];

/// Headers that tell one request from its repetition.
const NEW_EACH_TIME: [&str; 4] = [
    "idempotency-key",
    "x-idempotency-key",
    "x-request-id",
    "x-correlation-id",
];

pub(super) struct Writer<'a> {
    selected: &'a Selected,
    carried: &'a Carried,
    script: Script,
}

pub(super) fn write(
    mut script: Script,
    selected: &Selected,
    groups: &[Group],
    carried: &Carried,
) -> Draft {
    let cookies = secrets::find(&selected.entries, carried, &mut script);
    let mut writer = Writer {
        selected,
        carried,
        script,
    };
    let groups = writer.groups(groups);
    writer.note_errors();
    let count = selected.entries.len();
    let origin = &selected.origin;
    let requests = if count == 1 { "request" } else { "requests" };
    let title = format!("Drafted from a recording (HAR) of {count} {requests} to {origin}.");
    let mut body = helpers(carried, selected.entries.len(), &groups);
    body.push_str("\nexport default function () {\n");
    body.push_str(&jar(&cookies));
    body.push_str("  let res;\n");
    for name in carried.names() {
        let _ = writeln!(body, "  let {name};");
    }
    body.push_str(&groups);
    body.push_str("}\n");
    if !groups.contains("res = ") {
        body = body.replace("  let res;\n", "");
    }
    writer.script.finish(&title, origin, &body)
}

fn jar(cookies: &[Cookie]) -> String {
    let mut source = String::new();
    if !cookies.is_empty() {
        source.push_str("  const jar = http.cookieJar();\n");
    }
    for Cookie { name, constant } in cookies {
        let name = quoted(name);
        let _ = writeln!(
            source,
            "  if ({constant}) jar.set(BASE_URL, {name}, {constant});"
        );
    }
    source
}

impl Writer<'_> {
    fn groups(&mut self, groups: &[Group]) -> String {
        let mut source = String::new();
        for group in groups {
            let name = quoted(&self.without_values(&group.name));
            let _ = writeln!(source, "\n  group({name}, () => {{");
            for step in &group.steps {
                match step {
                    Step::Request(at) => self.request(*at, &mut source),
                    Step::Batch(batch) => self.batch(batch, &mut source),
                    Step::Pause(seconds) => {
                        let _ = writeln!(source, "    sleep({seconds});");
                    }
                }
            }
            source.push_str("  });\n");
        }
        source.push_str("  sleep(1);\n");
        source
    }

    fn batch(&mut self, batch: &[usize], source: &mut String) {
        source.push_str("    http.batch([\n");
        let mut urls: Vec<String> = Vec::new();
        for at in batch {
            let url = self.url(*at).0.source();
            if !urls.contains(&url) {
                let _ = writeln!(source, "      ['GET', {url}],");
                urls.push(url);
            }
        }
        source.push_str("    ]);\n");
    }

    fn request(&mut self, at: usize, source: &mut String) {
        let chosen = &self.selected.entries[at];
        let (url, template) = self.url(at);
        let label = format!("{} {template}", chosen.entry.method);
        let body = self.body(at);
        let mut params = Vec::new();
        let headers = self.headers(at, body.as_ref().and_then(|body| body.kind.as_deref()));
        if !headers.is_empty() {
            params.push(("headers".to_owned(), Js::Object(headers)));
        }
        if chosen.leads_away {
            params.push(("redirects".to_owned(), Js::Plain("0".to_owned())));
        }
        if chosen.status >= 400 {
            // Else it would count as failed, and the first run would miss its threshold.
            let expected = format!("http.expectedStatuses({})", chosen.status);
            params.push(("responseCallback".to_owned(), Js::Plain(expected)));
        }
        if template.contains("{}") {
            let name = ("name".to_owned(), Js::text(&label));
            params.push(("tags".to_owned(), Js::Object(vec![name])));
        }
        let call = Call {
            method: chosen.entry.method.clone(),
            url,
            body: body.map(|body| body.source),
            params,
        };
        let _ = writeln!(source, "    res = {};", call.source(4));
        self.after(at, &label, source);
    }

    /// What is taken from the answer, and what it should be.
    fn after(&self, at: usize, label: &str, source: &mut String) {
        let status = expected_status(&self.selected.entries[at]);
        let mut checks = vec![format!(
            "{}: (r) => r.status === {status}",
            quoted(&format!("{label} is {status}"))
        )];
        for carry in self.carried.from(at) {
            let (function, place) = match &carry.place {
                Place::Json(path) => ("pick", path),
                Place::Field(name) => ("field", name),
            };
            let name = &carry.name;
            let _ = writeln!(source, "    {name} = {function}(res, {});", quoted(place));
            let label = quoted(&format!("{label} brings {name}"));
            checks.push(format!("{label}: () => {name} !== undefined"));
        }
        if let [check] = checks.as_slice() {
            let _ = writeln!(source, "    check(res, {{ {check} }});");
        } else {
            source.push_str("    check(res, {\n");
            for check in checks {
                let _ = writeln!(source, "      {check},");
            }
            source.push_str("    });\n");
        }
    }

    /// The address, and its path with `{}` for what is carried over.
    fn url(&self, at: usize) -> (Text, String) {
        let url = &self.selected.entries[at].entry.url;
        let mut text = Text::name("BASE_URL");
        let mut template = String::new();
        for part in url.path_segments().into_iter().flatten() {
            text.push("/");
            template.push('/');
            let value = self.text(&percent_decoded(part), at, false);
            if value.has_names() {
                text.append(value);
                template.push_str("{}");
            } else {
                text.push(part);
                template.push_str(part);
            }
        }
        for (number, pair) in url
            .query()
            .into_iter()
            .flat_map(|query| query.split('&'))
            .enumerate()
        {
            text.push(if number == 0 { "?" } else { "&" });
            let mut decoded = url::form_urlencoded::parse(pair.as_bytes());
            let (name, value) = decoded.next().unwrap_or_default();
            let value = self.text(&value, at, is_secret_name(&name));
            if value.has_names() {
                text.push(pair.split('=').next().unwrap_or_default());
                text.push("=");
                text.push_name(&format!("encodeURIComponent({})", value.source()));
            } else {
                text.push(pair);
            }
        }
        (text, template)
    }

    /// `kind` is the content type of the body; none when k6 knows it by itself.
    fn headers(&self, at: usize, kind: Option<&str>) -> Vec<(String, Js)> {
        let entry = &self.selected.entries[at].entry;
        let mut headers: Vec<(String, Js)> = Vec::new();
        if let Some(kind) = kind.filter(|kind| !kind.is_empty()) {
            headers.push(("Content-Type".to_owned(), Js::text(kind)));
        }
        for (name, value) in &entry.headers {
            let browser = name.starts_with(':')
                || name.starts_with("sec-")
                || name.starts_with("x-forwarded");
            // What a page asks for by itself says nothing; what a script asks for may matter.
            let plain = name == "accept" && !value.contains("json");
            let given = name == "content-type" || headers.iter().any(|(known, _)| known == name);
            if browser || plain || given || UNNEEDED.contains(&name.as_str()) {
                continue;
            }
            if NEW_EACH_TIME.contains(&name.as_str()) {
                headers.push((name.clone(), Js::Text(Text::name("newKey()"))));
                continue;
            }
            let text = match header_secret(name, value) {
                Some((_, secret)) => {
                    let mut text = Text::literal(&value[..value.len() - secret.len()]);
                    text.append(self.text(secret, at, true));
                    text
                }
                None => self.text(value, at, false),
            };
            headers.push((name.clone(), Js::Text(text)));
        }
        headers
    }

    fn body(&mut self, at: usize) -> Option<body::Written> {
        let selected = self.selected;
        let body = selected.entries[at].entry.body.as_ref()?;
        let (written, note) =
            body::written(body, &|value: &str, secret| self.text(value, at, secret));
        if let Some(note) = note {
            self.script.note(note);
        }
        written
    }

    /// A value that the request at `at` sends: carried over, or secret, or as it stands.
    fn text(&self, value: &str, at: usize, named_secret: bool) -> Text {
        if let Some(carry) = self.carried.get(value, at) {
            return Text::name(&carry.name);
        }
        let long = |secret: &str| secret.len() >= SECRET_LENGTH_MIN;
        let mut secrets = self.script.secrets();
        let same = secrets.find(|(secret, _)| *secret == value && (named_secret || long(secret)));
        if let Some((_, name)) = same {
            return Text::name(name);
        }
        let mut text = Text::default();
        let mut rest = value;
        while let Some((at, secret, name)) = self.next_secret(rest) {
            text.push(&rest[..at]);
            text.push_name(name);
            rest = &rest[at + secret..];
        }
        text.push(rest);
        text
    }

    /// Where the first secret in a text begins, how long it is, and its constant.
    fn next_secret(&self, text: &str) -> Option<(usize, usize, &str)> {
        let long = self
            .script
            .secrets()
            .filter(|(secret, _)| secret.len() >= SECRET_LENGTH_MIN);
        let found =
            long.filter_map(|(secret, name)| Some((text.find(secret)?, secret.len(), name)));
        found.min_by_key(|(at, length, _)| (*at, std::cmp::Reverse(*length)))
    }

    /// A name of a page, with `{}` for what is carried over or secret.
    fn without_values(&self, name: &str) -> String {
        let is_value = |part: &str| self.carried.get(part, usize::MAX).is_some();
        let parts = name.split('/');
        let parts: Vec<&str> = parts
            .map(|part| if is_value(part) { "{}" } else { part })
            .collect();
        let mut name = parts.join("/");
        while let Some((at, length, _)) = self.next_secret(&name) {
            name.replace_range(at..at + length, "{}");
        }
        name
    }

    fn note_errors(&mut self) {
        let failed = |chosen: &&Chosen| chosen.status >= 400 && !chosen.is_static;
        let count = self.selected.entries.iter().filter(failed).count();
        if count > 0 {
            let were = if count == 1 { "was" } else { "were" };
            self.script.note(format!(
                "{count} of the recorded requests {were} answered with an error; the script expects the same."
            ));
        }
    }
}

/// What comes without a cache, after redirects.
fn expected_status(chosen: &Chosen) -> u16 {
    match chosen.status {
        304 => 200,
        // The page that it led to was not recorded.
        status if is_redirect(status) && !chosen.leads_away => 200,
        status => status,
    }
}
