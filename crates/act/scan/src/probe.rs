//! One value of a request made hostile, and whether the answer shows that it was taken for more than a value.
//!
//! Each proof is compared with the answer to the request as the scenario made it.

use crate::http::{Answer, Broken, Client, Request};
use crate::passive::ELSEWHERE;
use crate::plan::Example;
use crate::points::{Point, encoded, plain, points, with};
use crate::signs;
use crate::weakness::Weaknesses;

/// Stands for markup of a stranger.
const MARKUP: &str = "c7q\"'><c7x>";
/// The part that has to come back as it is.
const MARKED: &str = "><c7x>";
/// A file that every Unix has.
const CLIMBS: [&str; 4] = [
    "../../../../../../../../../../etc/passwd",
    "/etc/passwd",
    "....//....//....//....//....//....//....//....//etc/passwd",
    "..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
];
/// Values that a careless program stumbles over.
const ODD: [&str; 3] = ["c7q'\"\\{[%", "", "-1"];

/// Asks, and keeps what all hostile requests have in common.
pub(crate) struct Prober<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) weaknesses: &'a mut Weaknesses,
    /// Whether the server's process is still there.
    pub(crate) lives: &'a dyn Fn() -> bool,
    /// Its process ended: nothing more is asked.
    pub(crate) is_down: bool,
}

impl Prober<'_> {
    fn goes_on(&self) -> bool {
        !self.is_down && !self.client.is_given_up()
    }

    fn ask(&mut self, endpoint: &str, what: &str, request: &Request) -> Option<Answer> {
        if !self.goes_on() {
            return None;
        }
        match self.client.ask(request) {
            Ok(answer) => {
                self.verbose(endpoint, what, &answer);
                Some(answer)
            }
            Err(Broken::Late) => None,
            Err(_) => {
                if !(self.lives)() {
                    self.is_down = true;
                    let sentence = format!("The server ends when `{endpoint}` gets {what}.");
                    self.weaknesses.add("ends-on-input", endpoint, sentence);
                }
                None
            }
        }
    }

    /// An error that tells more than a stranger should know.
    fn verbose(&mut self, endpoint: &str, what: &str, answer: &Answer) {
        if answer.status < 400 {
            return;
        }
        if let Some(trace) = signs::trace(&answer.body) {
            let sentence = format!(
                "`{endpoint}` answers {what} with {} and what only its developers should see: `{trace}`.",
                answer.status
            );
            self.weaknesses.add("verbose-error", endpoint, sentence);
        }
    }

    /// All values of one request.
    pub(crate) fn example(&mut self, example: &Example) {
        if !self.goes_on() {
            return;
        }
        let Ok(usual) = self.client.ask(&plain(example)) else {
            return;
        };
        for point in points(example) {
            if !self.goes_on() {
                return;
            }
            self.markup(example, &point, &usual);
            self.climb(example, &point, &usual);
            self.redirect(example, &point);
            self.database(example, &point, &usual);
            for odd in ODD {
                let what = format!("{} {odd:?}", point.name);
                self.ask(&example.endpoint, &what, &with(example, &point, odd));
            }
        }
        self.broken_body(example);
    }

    fn broken_body(&mut self, example: &Example) {
        if example.body.trim_start().starts_with(['{', '[']) {
            let mut request = plain(example);
            request.body = "{\"c7q\": [".to_owned();
            self.ask(&example.endpoint, "a body that is no JSON", &request);
        }
    }

    fn markup(&mut self, example: &Example, point: &Point, usual: &Answer) {
        let endpoint = &example.endpoint;
        let what = format!("{} with markup", point.name);
        let request = with(example, point, MARKUP);
        let Some(answer) = self.ask(endpoint, &what, &request) else {
            return;
        };
        if answer.is_html() && answer.body.contains(MARKED) && !usual.body.contains(MARKED) {
            let sentence = format!(
                "`{endpoint}` writes {} into its page as it came, so a link can run scripts there.",
                point.name
            );
            self.weaknesses.add("reflected-input", endpoint, sentence);
        }
    }

    fn climb(&mut self, example: &Example, point: &Point, usual: &Answer) {
        let endpoint = &example.endpoint;
        for climb in CLIMBS {
            if self.weaknesses.knows("path-traversal", endpoint) {
                return;
            }
            let what = format!("{} {climb:?}", point.name);
            let request = with(example, point, climb);
            if let Some(answer) = self.ask(endpoint, &what, &request)
                && signs::accounts(&answer.body)
                && !signs::accounts(&usual.body)
            {
                self.climbed(endpoint, &what);
            }
        }
    }

    fn climbed(&mut self, endpoint: &str, what: &str) {
        let sentence =
            format!("`{endpoint}` gives out any file: with {what} it sends /etc/passwd.");
        self.weaknesses.add("path-traversal", endpoint, sentence);
    }

    /// Paths that lead out of a directory of files.
    pub(crate) fn climb_paths(&mut self, example: &Example) {
        let path = example.path.split('?').next().unwrap_or("/");
        let base = path.rfind('/').map_or("", |at| &path[..at]);
        for climb in [
            "/../../../../../../../../etc/passwd",
            "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
            "/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
            "//etc/passwd",
        ] {
            if self.weaknesses.knows("path-traversal", &example.endpoint) {
                return;
            }
            let request = get(&format!("{base}{climb}"));
            let what = format!("the path `{base}{climb}`");
            if let Some(answer) = self.ask(&example.endpoint, &what, &request)
                && signs::accounts(&answer.body)
            {
                self.climbed(&example.endpoint, &what);
            }
        }
        // A path that begins with two slashes is an address of another host when it is sent back.
        let request = get(&format!("//{ELSEWHERE}/%2e%2e"));
        if let Some(answer) = self.ask(&example.endpoint, "a path with two slashes", &request) {
            self.redirected(&example.endpoint, "a path with two slashes", &answer);
        }
    }

    fn redirect(&mut self, example: &Example, point: &Point) {
        let endpoint = &example.endpoint;
        let values = [
            format!("https://{ELSEWHERE}/"),
            format!("//{ELSEWHERE}/"),
            format!("/\\{ELSEWHERE}/"),
        ];
        for value in values {
            if self.weaknesses.knows("open-redirect", endpoint) {
                return;
            }
            let what = format!("{} `{value}`", point.name);
            let request = with(example, point, &value);
            if let Some(answer) = self.ask(endpoint, &what, &request) {
                self.redirected(endpoint, &what, &answer);
            }
        }
    }

    fn redirected(&mut self, endpoint: &str, what: &str, answer: &Answer) {
        let to = answer.header("location").unwrap_or_default();
        if !(300..400).contains(&answer.status) || !leads_elsewhere(to) {
            return;
        }
        let sentence = format!(
            "`{endpoint}` sends visitors to any site: {what} is answered with {} and Location `{to}`.",
            answer.status
        );
        self.weaknesses.add("open-redirect", endpoint, sentence);
    }

    fn database(&mut self, example: &Example, point: &Point, usual: &Answer) {
        let endpoint = &example.endpoint;
        let what = format!("{} with a quote", point.name);
        let request = with(example, point, &format!("{}'", point.had));
        if let Some(answer) = self.ask(endpoint, &what, &request)
            && let Some(sign) = signs::database(&answer.body)
            && signs::database(&usual.body).is_none()
        {
            let sentence = format!(
                "`{endpoint}` puts {} into a query of its database: with a quote it answers `{sign}`.",
                point.name
            );
            self.weaknesses.add("sql-injection", endpoint, sentence);
            return;
        }
        let is_safe = ["GET", "HEAD"].contains(&example.method.as_str());
        if is_safe && (200..300).contains(&usual.status) {
            self.condition(example, point);
        }
    }

    /// A condition that always holds changes nothing, one that never holds does, and what is no condition does as well.
    fn condition(&mut self, example: &Example, point: &Point) {
        let had = &point.had;
        let (holds, fails, none) = match had.parse::<f64>() {
            Ok(_) => (
                format!("{had} AND 7=7"),
                format!("{had} AND 7=8"),
                format!("{had} QZX 7=7"),
            ),
            Err(_) => (
                format!("{had}' AND '7'='7"),
                format!("{had}' AND '7'='8"),
                format!("{had}' QZX '7'='7"),
            ),
        };
        let what = format!("{} with a condition", point.name);
        let mut same = |value: &str, usual: Option<&Answer>| -> Option<Answer> {
            let answer = self.ask(&example.endpoint, &what, &with(example, point, value))?;
            usual
                .is_none_or(|usual| alike(usual, &answer))
                .then_some(answer)
        };
        // Most end with the second question.
        let Some(usual) = same(had, None) else {
            return;
        };
        let repeated = same(&holds, Some(&usual)).is_some()
            && same(had, Some(&usual)).is_some()
            && same(&holds, Some(&usual)).is_some();
        if !repeated || same(&fails, Some(&usual)).is_some() || same(&none, Some(&usual)).is_some()
        {
            return;
        }
        let sentence = format!(
            "`{}` puts {} into a query of its database: `{holds}` is answered as `{had}` is, `{fails}` is not.",
            example.endpoint, point.name
        );
        self.weaknesses
            .add("sql-injection", &example.endpoint, sentence);
    }
}

fn alike(one: &Answer, other: &Answer) -> bool {
    one.status == other.status && one.body == other.body
}

/// Whether browsers go to the other host from here.
fn leads_elsewhere(location: &str) -> bool {
    let plain = location.trim().replace('\\', "/").to_ascii_lowercase();
    let rest = plain
        .strip_prefix("https:")
        .or_else(|| plain.strip_prefix("http:"))
        .unwrap_or(&plain);
    rest.strip_prefix("//")
        .is_some_and(|host| host.trim_start_matches('/').starts_with(ELSEWHERE))
}

fn get(path: &str) -> Request {
    Request {
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: String::new(),
    }
}

/// A page that is not there, with markup in its name.
pub(crate) fn missing_page() -> Request {
    get(&format!("/c7q/{}", encoded(MARKUP)))
}

/// Whether a page that is not there shows markup of its name.
pub(crate) fn shows_markup(answer: &Answer) -> bool {
    answer.is_html() && answer.body.contains(MARKED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_browsers_follow_elsewhere_counts() {
        for to in [
            "https://cohort-probe.example/",
            "//cohort-probe.example/",
            "/\\cohort-probe.example/",
        ] {
            assert!(leads_elsewhere(to), "{to}");
        }
        for to in [
            "",
            "/login?next=https://cohort-probe.example/",
            "https://own.example/?to=https://cohort-probe.example/",
            "/cohort-probe.example/",
        ] {
            assert!(!leads_elsewhere(to), "{to}");
        }
    }
}
