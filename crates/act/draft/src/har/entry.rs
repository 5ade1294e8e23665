//! Reading a recording. <http://www.softwareishard.com/blog/har-12-spec/>

use base64::Engine;
use serde_json::Value;
use url::Url;

use super::time::milliseconds;
use crate::Error;
use crate::node::Node;

/// A recording, in the order in which requests were started.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) pages: Vec<Page>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Page {
    pub(super) id: String,
    pub(super) title: String,
}

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) page: Option<String>,
    /// Milliseconds since 1970.
    pub(super) started: Option<f64>,
    /// Milliseconds that it took.
    pub(super) took: f64,
    pub(super) method: String,
    pub(super) url: Url,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) cookies: Vec<(String, String)>,
    pub(super) body: Option<Body>,
    /// 0: there was no answer.
    pub(super) status: u16,
    pub(super) answer_kind: String,
    pub(super) answer: Option<String>,
    pub(super) cookies_set: Vec<String>,
    pub(super) redirect: Option<Url>,
    /// What Chrome calls it: `document`, `xhr`, `image`, ...
    pub(super) resource: String,
}

/// What was sent.
#[derive(Debug)]
pub(super) struct Body {
    /// Content type, in lower case, with its parameters.
    pub(super) kind: String,
    pub(super) text: String,
    /// Of a form, when the recording has them.
    pub(super) fields: Vec<(String, String)>,
}

impl Entry {
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// When it had ended, milliseconds since 1970.
    pub(super) fn ended(&self) -> Option<f64> {
        Some(self.started? + self.took)
    }
}

pub(super) fn read(value: &Value) -> Result<Recording, Error> {
    let root = Node::root(value);
    let log = root.need("log", "a HAR file, which is a table with a \"log\"")?;
    log.need("entries", "the list of what was recorded")?;
    let pages = log.list("pages")?;
    let pages = pages.iter().filter_map(|page| {
        Some(Page {
            id: page.text("id")?.to_owned(),
            title: page.text("title").unwrap_or_default().to_owned(),
        })
    });
    let entries = log.list("entries")?;
    let entries: Result<Vec<Entry>, Error> = entries.iter().map(entry).collect();
    let mut entries = entries?;
    // Some tools write in the order in which answers arrived. Without times, as it stands.
    if entries.iter().all(|entry| entry.started.is_some()) {
        entries
            .sort_by(|a, b| f64::total_cmp(&a.started.unwrap_or(0.0), &b.started.unwrap_or(0.0)));
    }
    Ok(Recording {
        pages: pages.collect(),
        entries,
    })
}

fn entry(node: &Node<'_>) -> Result<Entry, Error> {
    let request = node.need("request", "what was asked")?;
    let method = request.need_text("method", "a method, like GET")?;
    let address = request.need_text("url", "an address, like https://shop.example/items")?;
    let url = Url::parse(address).map_err(|_| Error::Value {
        place: format!("{}.url", request.path),
        expected: "an address, like https://shop.example/items",
        found: address.chars().take(80).collect(),
    })?;
    let method_is_fine =
        !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !method_is_fine {
        return Err(Error::Value {
            place: format!("{}.method", request.path),
            expected: "a method, like GET",
            found: method.chars().take(80).collect(),
        });
    }
    let response = node.get("response");
    let response = response.as_ref();
    let content = response.and_then(|response| response.get("content"));
    let headers = pairs(&request, "headers")?;
    let answer_headers = response.map_or(Ok(Vec::new()), |response| pairs(response, "headers"))?;
    let answer_header = |name: &str| {
        let mut all = answer_headers.iter();
        all.find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    };
    let redirect = response.and_then(|response| response.text("redirectURL"));
    let redirect = redirect.filter(|to| !to.is_empty()).map(str::to_owned);
    let redirect = redirect.or_else(|| answer_header("location"));
    let kind = content
        .as_ref()
        .and_then(|content| content.text("mimeType"));
    let kind = kind
        .map(str::to_owned)
        .or_else(|| answer_header("content-type"));
    Ok(Entry {
        page: node.text("pageref").map(str::to_owned),
        started: node.text("startedDateTime").and_then(milliseconds),
        took: node
            .number("time")
            .filter(|took| *took > 0.0)
            .unwrap_or(0.0),
        method: method.to_ascii_uppercase(),
        redirect: redirect.and_then(|to| url.join(&to).ok()),
        url,
        body: body(&request, &headers)?,
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect(),
        cookies: pairs(&request, "cookies")?,
        status: response
            .and_then(|response| response.number("status"))
            .map_or(0, |status| status as u16),
        answer_kind: kind.unwrap_or_default().to_ascii_lowercase(),
        answer: content.as_ref().and_then(answer),
        cookies_set: response.map_or(Ok(Vec::new()), |response| {
            cookies_set(response, &answer_headers)
        })?,
        resource: node.text("_resourceType").unwrap_or_default().to_owned(),
    })
}

/// The `name` and `value` of each of a list.
fn pairs(node: &Node<'_>, key: &str) -> Result<Vec<(String, String)>, Error> {
    let pair = |node: &Node<'_>| {
        let name = node.text("name")?.to_owned();
        Some((name, node.text("value").unwrap_or_default().to_owned()))
    };
    Ok(node.list(key)?.iter().filter_map(pair).collect())
}

fn cookies_set(response: &Node<'_>, headers: &[(String, String)]) -> Result<Vec<String>, Error> {
    let listed = pairs(response, "cookies")?
        .into_iter()
        .map(|(name, _)| name);
    let mut names: Vec<String> = listed.collect();
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("set-cookie") {
            // Firefox puts several into one, a line each.
            let set = value.lines().filter_map(|line| line.split_once('='));
            names.extend(set.map(|(name, _)| name.trim().to_owned()));
        }
    }
    Ok(names)
}

fn body(request: &Node<'_>, headers: &[(String, String)]) -> Result<Option<Body>, Error> {
    let Some(data) = request.get("postData") else {
        return Ok(None);
    };
    let mut header = headers.iter();
    let header = header.find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let kind = data.text("mimeType").filter(|kind| !kind.is_empty());
    let kind = kind
        .or(header.map(|(_, value)| value.as_str()))
        .unwrap_or_default();
    let body = Body {
        kind: kind.to_owned(),
        text: data.text("text").unwrap_or_default().to_owned(),
        fields: pairs(&data, "params")?,
    };
    let empty = body.text.is_empty() && body.fields.is_empty();
    Ok((!empty).then_some(body))
}

fn answer(content: &Node<'_>) -> Option<String> {
    let text = content.text("text").filter(|text| !text.is_empty())?;
    if content.text("encoding") != Some("base64") {
        return Some(text.to_owned());
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    String::from_utf8(bytes).ok()
}
