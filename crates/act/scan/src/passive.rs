//! What an ordinary answer says: headers and cookies.

use std::collections::BTreeSet;

use crate::http::Answer;
use crate::weakness::Weaknesses;

/// An address that is nobody's (RFC 2606).
pub(crate) const ELSEWHERE: &str = "cohort-probe.example";

/// Headers that answers lack, over all endpoints: most often all lack the same.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    missing: Vec<(&'static str, &'static str, BTreeSet<String>)>,
}

impl Headers {
    /// Looks at an answer that went well.
    pub(crate) fn look(&mut self, endpoint: &str, answer: &Answer, is_tls: bool) {
        if !(200..300).contains(&answer.status) || answer.body.is_empty() {
            return;
        }
        let nosniff = answer.header("x-content-type-options");
        if !nosniff.is_some_and(|it| it.eq_ignore_ascii_case("nosniff")) {
            let why = "browsers may take an answer for something else than it says";
            self.lack("X-Content-Type-Options: nosniff", why, endpoint);
        }
        let policy = answer.header("content-security-policy").unwrap_or_default();
        if answer.is_html()
            && policy.is_empty()
            && !answer
                .body
                .contains("http-equiv=\"Content-Security-Policy\"")
        {
            let why = "a page runs whatever scripts get into it";
            self.lack("Content-Security-Policy", why, endpoint);
        }
        let framed =
            policy.contains("frame-ancestors") || answer.header("x-frame-options").is_some();
        if answer.is_html() && !framed {
            let why = "other sites may show a page in a frame of theirs";
            self.lack("X-Frame-Options or frame-ancestors", why, endpoint);
        }
        if is_tls && answer.header("strict-transport-security").is_none() {
            let why = "browsers may come back without TLS";
            self.lack("Strict-Transport-Security", why, endpoint);
        }
    }

    fn lack(&mut self, header: &'static str, why: &'static str, endpoint: &str) {
        let known = self.missing.iter_mut().find(|(name, ..)| *name == header);
        match known {
            Some((.., endpoints)) => {
                endpoints.insert(endpoint.to_owned());
            }
            None => self
                .missing
                .push((header, why, BTreeSet::from([endpoint.to_owned()]))),
        }
    }

    /// One weakness for all headers that are missing.
    pub(crate) fn tell(self, weaknesses: &mut Weaknesses) {
        let Some((.., first)) = self.missing.first() else {
            return;
        };
        let place = first.first().cloned().unwrap_or_default();
        let each: Vec<String> = self
            .missing
            .iter()
            .map(|(header, why, endpoints)| {
                let of = match endpoints.iter().next() {
                    Some(one) if endpoints.len() == 1 => one.clone(),
                    _ => format!("{} endpoints", endpoints.len()),
                };
                format!("{header} ({of}: {why})")
            })
            .collect();
        let sentence = format!("Answers come without {}.", each.join(", and without "));
        weaknesses.add("missing-header", &place, sentence);
    }
}

/// Cookies that hold a session and that scripts can read, or that are sent where they should not be.
pub(crate) fn cookies(endpoint: &str, answer: &Answer, is_tls: bool, weaknesses: &mut Weaknesses) {
    for set in answer.all("set-cookie") {
        let mut parts = set.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            continue;
        };
        let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        let has = |wanted: &str| attributes.iter().any(|it| it == wanted);
        let lower = name.to_ascii_lowercase();
        // Pages have to read those.
        let for_scripts = ["csrf", "xsrf"].iter().any(|it| lower.contains(it));
        let is_session = value.len() >= 16
            || ["sess", "sid", "token", "auth", "jwt"]
                .iter()
                .any(|it| lower.contains(it));
        if value.is_empty() || has("max-age=0") || for_scripts || !is_session {
            continue;
        }
        let mut lacks = Vec::new();
        if !has("httponly") {
            lacks.push("HttpOnly (scripts of a page can read it)");
        }
        if is_tls && !has("secure") {
            lacks.push("Secure (it is also sent without TLS)");
        }
        if has("samesite=none") && !has("secure") {
            lacks.push("Secure beside SameSite=None");
        }
        if lacks.is_empty() {
            continue;
        }
        if !attributes.iter().any(|it| it.starts_with("samesite=")) {
            lacks.push("SameSite (some browsers send it from other sites)");
        }
        let sentence = format!(
            "`{endpoint}` sets the cookie `{name}` without {}.",
            lacks.join(", ")
        );
        weaknesses.add("weak-cookie", endpoint, sentence);
    }
}

/// Whether a page of any other site may read answers with the visitor's cookies. The request came with an origin elsewhere.
pub(crate) fn origin(endpoint: &str, answer: &Answer, weaknesses: &mut Weaknesses) {
    let allowed = answer
        .header("access-control-allow-origin")
        .unwrap_or_default();
    let with_cookies = answer.header("access-control-allow-credentials");
    if allowed.contains(ELSEWHERE) && with_cookies.is_some_and(|it| it.eq_ignore_ascii_case("true"))
    {
        let sentence = format!(
            "`{endpoint}` lets pages of any site read its answers with the visitor's cookies: it sends back whatever Origin it is asked with, with Access-Control-Allow-Credentials."
        );
        weaknesses.add("cross-origin", endpoint, sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)]) -> Answer {
        Answer {
            status: 200,
            headers: headers
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            body: "x".to_owned(),
        }
    }

    #[test]
    fn only_cookies_of_sessions_have_to_be_kept_from_scripts() {
        let told = |set: &str| {
            let mut found = Weaknesses::default();
            cookies("GET /", &answer(&[("set-cookie", set)]), false, &mut found);
            !found.rules().is_empty()
        };
        assert!(told("session=abc; Path=/"));
        assert!(told("s=0123456789abcdef0; SameSite=Lax"));
        assert!(!told("session=abc; HttpOnly"));
        assert!(!told("session=; Max-Age=0"));
        assert!(!told("theme=dark"));
        assert!(!told("csrftoken=0123456789abcdef0123"));
    }

    #[test]
    fn what_all_answers_lack_is_one_weakness() {
        let (mut headers, mut found) = (Headers::default(), Weaknesses::default());
        headers.look("GET /a", &answer(&[("content-type", "text/html")]), false);
        headers.look(
            "GET /b",
            &answer(&[("content-type", "application/json")]),
            false,
        );
        headers.tell(&mut found);
        assert_eq!(found.rules(), ["missing-header"]);
        assert!(found.lines().contains("2 endpoints"), "{}", found.lines());
    }
}
