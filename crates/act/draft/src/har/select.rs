//! Which requests of a recording are worth sending again: those to the service itself that were
//! answered, each once. What is left out is said.

use std::collections::BTreeMap;

use super::entry::Entry;
use crate::Error;
use crate::script::Script;

/// Origins that are named when they are left out.
const NAMED_MAX: usize = 5;

/// What is sent again.
#[derive(Debug)]
pub(super) struct Selected {
    /// `https://shop.example`.
    pub(super) origin: String,
    pub(super) entries: Vec<Chosen>,
}

/// A request, and what it is.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) entry: Entry,
    pub(super) is_static: bool,
    /// What its answer is after redirects that k6 follows.
    pub(super) status: u16,
    /// It leads to another origin: the redirect is not followed.
    pub(super) leads_away: bool,
}

pub(super) fn select(entries: Vec<Entry>, script: &mut Script) -> Result<Selected, Error> {
    if entries.is_empty() {
        return Err(Error::Nothing(
            "log.entries: nothing was recorded; open the network panel before loading the page, then save again".to_owned(),
        ));
    }
    let (entries, unsent) = without_unsendable(entries);
    let Some(origin) = origin(&entries) else {
        return Err(Error::Nothing(format!(
            "log.entries: none of {unsent} requests was answered over HTTP; record the service while it runs"
        )));
    };
    let (own, foreign): (Vec<Entry>, Vec<Entry>) = entries
        .into_iter()
        .partition(|entry| entry.origin() == origin);
    if unsent > 0 {
        script.note(format!(
            "Left out: {unsent} requests that were not answered, were no HTTP, or were preflights of the browser."
        ));
    }
    note_foreign(&foreign, script);
    Ok(Selected {
        entries: follow(own, &origin),
        origin,
    })
}

fn without_unsendable(entries: Vec<Entry>) -> (Vec<Entry>, usize) {
    let all = entries.len();
    let sendable = |entry: &Entry| {
        let http = matches!(entry.url.scheme(), "http" | "https");
        let asks = !matches!(entry.method.as_str(), "OPTIONS" | "CONNECT" | "TRACE");
        http && asks && entry.status >= 200 && entry.resource != "websocket"
    };
    let kept: Vec<Entry> = entries.into_iter().filter(sendable).collect();
    let unsent = all - kept.len();
    (kept, unsent)
}

/// That of the first page or answer in JSON that is no redirect; else of the first request.
fn origin(entries: &[Entry]) -> Option<String> {
    let shows = |entry: &&Entry| {
        entry.status < 300
            && (entry.answer_kind.contains("html") || entry.answer_kind.contains("json"))
    };
    let first = entries.iter().find(shows).or(entries.first())?;
    Some(first.origin())
}

fn note_foreign(foreign: &[Entry], script: &mut Script) {
    let mut origins: BTreeMap<String, usize> = BTreeMap::new();
    for entry in foreign {
        *origins.entry(entry.origin()).or_default() += 1;
    }
    let mut origins: Vec<(String, usize)> = origins.into_iter().collect();
    origins.sort_by_key(|(origin, count)| (std::cmp::Reverse(*count), origin.clone()));
    for (origin, count) in origins.iter().take(NAMED_MAX) {
        let requests = if *count == 1 { "request" } else { "requests" };
        script.note(format!(
            "Left out: {count} {requests} to {origin}, another origin."
        ));
    }
    if let Some(more) = origins.get(NAMED_MAX..).filter(|more| !more.is_empty()) {
        let count: usize = more.iter().map(|(_, count)| count).sum();
        let origins = more.len();
        script.note(format!(
            "Left out: {count} requests to {origins} more origins."
        ));
    }
}

/// k6 follows redirects by itself, so what they lead to is not sent again.
fn follow(entries: Vec<Entry>, origin: &str) -> Vec<Chosen> {
    let mut chosen: Vec<Chosen> = Vec::new();
    // Where the redirects of the request at this place lead.
    let mut awaited: Option<(usize, url::Url)> = None;
    for entry in entries {
        if let Some((at, to)) = &awaited
            && entry.method == "GET"
            && without_fragment(&entry.url) == without_fragment(to)
        {
            chosen[*at].status = entry.status;
            let to = entry.redirect.clone().filter(|_| is_redirect(entry.status));
            chosen[*at].entry.cookies_set.extend(entry.cookies_set);
            chosen[*at].entry.answer = entry.answer;
            chosen[*at].entry.answer_kind = entry.answer_kind;
            awaited = to.map(|to| (*at, to));
            continue;
        }
        let to = entry.redirect.clone().filter(|_| is_redirect(entry.status));
        let leads_away = to
            .as_ref()
            .is_some_and(|to| to.origin().ascii_serialization() != origin);
        // A recording may lack the page that a redirect led to.
        if let Some(to) = to.filter(|_| !leads_away) {
            awaited = Some((chosen.len(), to));
        }
        chosen.push(Chosen {
            is_static: is_static(&entry),
            status: entry.status,
            leads_away,
            entry,
        });
    }
    chosen
}

fn without_fragment(url: &url::Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    url.into()
}

pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

fn is_static(entry: &Entry) -> bool {
    if entry.method != "GET" {
        return false;
    }
    let resource = entry.resource.as_str();
    if matches!(
        resource,
        "stylesheet" | "script" | "image" | "font" | "media" | "manifest"
    ) {
        return true;
    }
    if matches!(resource, "document" | "xhr" | "fetch") {
        return false;
    }
    let kind = entry.answer_kind.as_str();
    let kinds = ["image/", "font/", "audio/", "video/", "text/css"];
    let endings = [
        ".css",
        ".js",
        ".mjs",
        ".map",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".svg",
        ".webp",
        ".avif",
        ".ico",
        ".woff",
        ".woff2",
        ".ttf",
        ".mp4",
        ".webm",
        ".webmanifest",
        ".wasm",
    ];
    let path = entry.url.path().to_ascii_lowercase();
    kinds.iter().any(|known| kind.starts_with(known))
        || kind.contains("javascript")
        || endings.iter().any(|ending| path.ends_with(ending))
}
