//! The requests of an edge case as a person can type them: a shell script of curl lines.
//!
//! What a request uses of an earlier answer is taken from that answer when the script runs: cookies by curl's own jar, values of
//! JSON bodies by jq. What was sent at once is sent at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cohort_agent::play::{body_without, url_without};
use cohort_model::{Case, CasePart, CaseRequest, CaseValue, Condition, SymptomKind, ThreadId};

use super::masked::masked;

/// Headers that curl sends by itself or that are told otherwise.
const OWN: [&str; 4] = ["cookie", "user-agent", "content-length", "host"];

/// The script of a case: the requests of its smallest recipe, else all of them.
pub(crate) fn script(case: &Case, requests: &[CaseRequest], base_url: &str) -> String {
    let kept: Vec<u32> = match &case.smallest {
        Some(arm) => arm.recipe.parts.iter().filter_map(number).collect(),
        None => (0..requests.len() as u32).collect(),
    };
    let mut text = format!("#!/bin/sh\n# {}: {}\n", case.case, about(case));
    for condition in case.smallest.iter().flat_map(|arm| &arm.recipe.conditions) {
        if let Condition::Copies { count } = condition {
            let _ = writeln!(
                text,
                "# It takes {count} of this script at once, each in a directory of its own."
            );
        }
    }
    if case.age_us > 0 {
        let seconds = case.age_us as f64 / 1e6;
        let _ = writeln!(
            text,
            "# The server is to have run for {seconds:.0} s before."
        );
    }
    if matches!(&case.symptom, Some(symptom) if symptom.kind == SymptomKind::Leak) {
        text.push_str("# What leaks shows when this is repeated some hundred times.\n");
    }
    if matches!(&case.symptom, Some(symptom) if symptom.kind == SymptomKind::Hang) {
        text.push_str("# It may take several times: repeat this until it hangs.\n");
    }
    text.push_str(
        "# Answers are written to files here; values of earlier ones are read with jq.\n",
    );
    let _ = writeln!(text, "BASE=${{BASE:-{base_url}}}\n");
    let mut secrets = BTreeSet::new();
    let mut of = |number: &u32| {
        let cut = cut(case, *number, requests.get(*number as usize)?);
        Some((*number, masked(cut, &mut secrets)))
    };
    let kept: Vec<(u32, CaseRequest)> = kept.iter().filter_map(&mut of).collect();
    if !secrets.is_empty() {
        let names: Vec<String> = secrets.into_iter().collect();
        let _ = writeln!(
            text,
            "# Secrets are left out, put them in: {}. `cohort repro {}` sends them as they were.\n",
            names.join(", "),
            case.case
        );
    }
    let kept: Vec<(u32, &CaseRequest)> = kept.iter().map(|(number, one)| (*number, one)).collect();
    let threads: BTreeSet<ThreadId> = kept.iter().map(|(_, request)| request.thread).collect();
    let used = used(&kept);
    for thread in &threads {
        let own = kept.iter().filter(|(_, request)| request.thread == *thread);
        let own: Vec<(u32, &CaseRequest)> = own.copied().collect();
        let lines = lines(&own, &used, threads.len() > 1);
        match threads.len() {
            1 => text.push_str(&lines),
            _ => {
                let _ = write!(text, "(\n{lines}) &\n");
            }
        }
    }
    if threads.len() > 1 {
        text.push_str("wait\n");
    }
    text
}

/// A request without the pieces that were left out of it: where some were, those that are left are told.
fn cut(case: &Case, number: u32, request: &CaseRequest) -> CaseRequest {
    let mut request = request.clone();
    let parts = case.smallest.iter().flat_map(|arm| &arm.recipe.parts);
    let kept: Vec<&String> = parts
        .filter_map(|part| match part {
            CasePart::Piece(of, piece) if *of == number => Some(piece),
            _ => None,
        })
        .collect();
    if kept.is_empty() {
        return request;
    }
    let all = std::mem::take(&mut request.pieces);
    let without: Vec<&str> = all
        .iter()
        .filter(|piece| !kept.contains(piece))
        .map(String::as_str)
        .collect();
    request.url = url_without(&request.url, &without);
    request.body =
        String::from_utf8_lossy(&body_without(request.body.as_bytes(), &without)).into_owned();
    request
}

fn about(case: &Case) -> String {
    let subject = match &case.subject {
        cohort_model::Subject::Service(endpoint) => endpoint.clone(),
        cohort_model::Subject::Test(test) => test.to_string(),
    };
    let symptom = case.symptom.as_ref();
    let how = symptom.map_or_else(String::new, |symptom| {
        let message = symptom.message.lines().next().unwrap_or_default();
        let message = if message == symptom.class {
            ""
        } else {
            message
        };
        [symptom.class.as_str(), message].join(" ")
    });
    format!("{subject} {how}")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn number(part: &CasePart) -> Option<u32> {
    match part {
        CasePart::Request(number) => Some(*number),
        _ => None,
    }
}

/// Names of the values that are used, by the answer and the place they come from.
type Used<'a> = BTreeMap<(u32, &'a str), String>;

fn used<'a>(kept: &[(u32, &'a CaseRequest)]) -> Used<'a> {
    let mut used = Used::new();
    for (_, request) in kept {
        for value in request.uses.iter().filter(|value| is_of_body(value)) {
            let next = used.len() + 1;
            let key = (value.request, value.place.as_str());
            used.entry(key).or_insert_with(|| format!("V{next}"));
        }
    }
    used
}

fn is_of_body(value: &CaseValue) -> bool {
    value.place.starts_with("body")
}

fn lines(own: &[(u32, &CaseRequest)], used: &Used<'_>, many: bool) -> String {
    let mut text = String::new();
    let jar = match (many, own.first()) {
        (true, Some((_, request))) => format!("cookies-{}", request.thread),
        _ => "cookies".to_owned(),
    };
    let mut rest = own;
    while let Some((_, first)) = rest.first() {
        let together = |(_, one): &&(u32, &CaseRequest)| {
            (one.iteration, one.call) == (first.iteration, first.call)
        };
        let count = rest.iter().take_while(together).count();
        let (call, others) = rest.split_at(count);
        rest = others;
        let beside = if count > 1 { " &" } else { "" };
        for (number, request) in call {
            let _ = writeln!(text, "{}{beside}", line(*number, request, used, &jar));
        }
        if count > 1 {
            text.push_str("wait\n");
        }
        let numbers: BTreeSet<u32> = call.iter().map(|(number, _)| *number).collect();
        for ((from, place), name) in used.iter().filter(|((from, _), _)| numbers.contains(from)) {
            let path = place.strip_prefix("body").unwrap_or(place);
            let filter = if path.is_empty() { "." } else { path };
            let _ = writeln!(text, "{name}=$(jq -r '{filter}' answer-{from})");
        }
    }
    text
}

fn line(number: u32, request: &CaseRequest, used: &Used<'_>, jar: &str) -> String {
    let mut words = vec![format!(
        "curl -sS -b {jar} -c {jar} -o answer-{number} -w '%{{http_code}}\\n'"
    )];
    if request.method != "GET" || !request.body.is_empty() {
        words.push(format!("-X {}", request.method));
    }
    let url = match request.url.contains("://") {
        true => request.url.clone(),
        false => format!("$BASE{}", request.url),
    };
    words.push(filled(&url, request, used));
    for (name, value) in &request.headers {
        if !OWN.contains(&name.to_lowercase().as_str()) {
            words.push(format!(
                "-H {}",
                filled(&format!("{name}: {value}"), request, used)
            ));
        }
    }
    if !request.body.is_empty() {
        words.push(format!(
            "--data-raw {}",
            filled(&request.body, request, used)
        ));
    }
    words.join(" ")
}

/// A word in double quotes, with the values of earlier answers in it.
fn filled(text: &str, request: &CaseRequest, used: &Used<'_>) -> String {
    let mut text = text.to_owned();
    let base = text.starts_with("$BASE");
    if base {
        text.drain(..5);
    }
    // Values are put in last: they are no text of the shell's.
    let mut values: Vec<(&str, &str)> = Vec::new();
    for value in request.uses.iter().filter(|value| is_of_body(value)) {
        if let Some(name) = used.get(&(value.request, value.place.as_str())) {
            values.push((&value.value, name));
        }
    }
    values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    let mut marked = text;
    for (place, (value, _)) in values.iter().enumerate() {
        marked = marked.replace(value, &format!("\u{1}{place}\u{2}"));
    }
    let mut quoted = String::new();
    for letter in marked.chars() {
        if ['"', '\\', '$', '`'].contains(&letter) {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    for (place, (_, name)) in values.iter().enumerate() {
        quoted = quoted.replace(&format!("\u{1}{place}\u{2}"), &format!("${{{name}}}"));
    }
    let base = if base { "$BASE" } else { "" };
    format!("\"{base}{quoted}\"")
}

#[cfg(test)]
mod tests {
    use cohort_model::{Arm, At, CaseId, Rate, Recipe, Stage, Subject, Symptom, SymptomKind};

    use super::*;

    fn request(
        call: u32,
        method: &str,
        url: &str,
        body: &str,
        uses: &[(u32, &str, &str)],
    ) -> CaseRequest {
        let value = |(request, place, value): &(u32, &str, &str)| CaseValue {
            value: (*value).to_owned(),
            request: *request,
            place: (*place).to_owned(),
        };
        CaseRequest {
            thread: ThreadId(3),
            iteration: 7,
            call,
            after_us: 0,
            endpoint: String::new(),
            method: method.to_owned(),
            url: url.to_owned(),
            headers: vec![
                ("Cookie".to_owned(), "session=abc".to_owned()),
                ("X-Token".to_owned(), "t-17".to_owned()),
            ],
            body: body.to_owned(),
            status: 200,
            took_us: 1,
            uses: uses.iter().map(value).collect(),
            pieces: Vec::new(),
        }
    }

    #[test]
    fn requests_can_be_typed() {
        let token = (0, "body.token", "t-17");
        let requests = [
            request(0, "POST", "/login", "{\"user\": \"it's $me\"}", &[]),
            request(1, "GET", "/news", "", &[token]),
            request(2, "POST", "/items", "{}", &[token]),
            request(
                3,
                "GET",
                "/items/4?deep=1",
                "",
                &[token, (2, "body.items[0].id", "4")],
            ),
            request(3, "GET", "/me", "", &[token]),
        ];
        let recipe = Recipe {
            parts: [0, 2, 3, 4].map(CasePart::Request).into(),
            ..Recipe::default()
        };
        let case = Case {
            case: CaseId(5),
            subject: Subject::Service("GET /items/{}".to_owned()),
            symptom: Some(Symptom {
                kind: SymptomKind::ErrorAnswer,
                class: "500".to_owned(),
                message: "no such page\nmore".to_owned(),
                frames: Vec::new(),
            }),
            sightings: Vec::new(),
            since: At(0),
            returned: false,
            stage: Stage::Closed,
            verdict: None,
            arms: Vec::new(),
            runs_to_first: None,
            causes: Vec::new(),
            smallest: Some(Arm {
                recipe,
                control: false,
                rate: Rate::default(),
            }),
            minimal: true,
            request: String::new(),
            age_us: 0,
            bound_us: 0,
            variants: Vec::new(),
            remarks: Vec::new(),
        };
        let text = script(&case, &requests, "http://localhost:8080");
        let curl = |number: u32| {
            format!("curl -sS -b cookies -c cookies -o answer-{number} -w '%{{http_code}}\\n'")
        };
        let wanted = format!(
            "#!/bin/sh\n# EC-5: GET /items/{{}} 500 no such page\n\
             # Answers are written to files here; values of earlier ones are read with jq.\n\
             BASE=${{BASE:-http://localhost:8080}}\n\n\
             # Secrets are left out, put them in: X-Token. `cohort repro EC-5` sends them as they were.\n\n\
             {} -X POST \"$BASE/login\" -H \"X-Token: left-out\" --data-raw \"{{\\\"user\\\": \\\"it's \\$me\\\"}}\"\n\
             V1=$(jq -r '.token' answer-0)\n\
             {} -X POST \"$BASE/items\" -H \"X-Token: ${{V1}}\" --data-raw \"{{}}\"\n\
             V2=$(jq -r '.items[0].id' answer-2)\n\
             {} \"$BASE/items/${{V2}}?deep=1\" -H \"X-Token: ${{V1}}\" &\n\
             {} \"$BASE/me\" -H \"X-Token: ${{V1}}\" &\nwait\n",
            curl(0),
            curl(2),
            curl(3),
            curl(4)
        );
        assert_eq!(text, wanted);
    }
}
