//! The script of a description: a function for each operation, and how often each is called.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::body::{self, is_repeated, text};
use super::document::Document;
use super::operation::{Operation, Parameter, Place};
use super::sample::Sampler;
use super::security::{self, Credential};
use super::server::Base;
use crate::js::{Js, Text, comment, quoted};
use crate::names::{camel_case, upper_case};
use crate::script::{Call, Script};
use crate::secret::is_secret_name;
use crate::{Draft, Error};

/// Names of parameters that only make sense with what they are of.
const UNSPECIFIC: [&str; 7] = ["id", "uuid", "name", "slug", "key", "code", "number"];

struct Writer<'s, 'a> {
    document: &'s Document<'a>,
    script: Script,
    base: &'s Base,
    /// Constants for what stands in paths: what each is called, and its source.
    paths: BTreeMap<String, (String, String)>,
}

/// What a request has besides its body.
#[derive(Default)]
struct Parts {
    path: Text,
    query: Text,
    headers: Vec<(String, Js)>,
    cookies: Text,
    /// The path, with `{}` for its parameters.
    template: String,
}

pub(super) fn write(
    document: &Document<'_>,
    script: Script,
    base: &Base,
    operations: &[Operation<'_>],
) -> Result<Draft, Error> {
    let mut writer = Writer {
        document,
        script,
        base,
        paths: BTreeMap::new(),
    };
    let mut functions = String::new();
    for operation in operations {
        functions.push_str(&writer.function(operation)?);
    }
    let mut body = String::new();
    if !writer.paths.is_empty() {
        body.push_str("\n// What stands in paths. Where these do not exist, give others in the environment.\n");
    }
    for (name, source) in writer.paths.values() {
        let variable = upper_case(name, "VALUE");
        let _ = writeln!(body, "const {name} = __ENV.{variable} || {source};");
    }
    body.push_str(&functions);
    body.push_str(&mix(operations));
    let info = document.root.get("info");
    let title = info.as_ref().and_then(|info| info.text("title"));
    let title: String = title.unwrap_or("an API").chars().take(80).collect();
    let called = &document.called;
    let count = operations.len();
    let what = if count == 1 {
        "operation"
    } else {
        "operations"
    };
    let title = format!("Drafted from the description ({called}) of {title}: {count} {what}.");
    Ok(writer.script.finish(&title, &base.origin, &body))
}

/// What reads is called most, what removes least.
fn mix(operations: &[Operation<'_>]) -> String {
    let mut source =
        "\n// How often each is called, against the others.\nconst mix = [\n".to_owned();
    for operation in operations {
        let weight = match operation.method.as_str() {
            "GET" | "HEAD" => 10,
            "DELETE" => 1,
            _ => 3,
        };
        let _ = writeln!(source, "  [{}, {weight}],", operation.name);
    }
    source.push_str("];\n");
    source.push_str(DEFAULT);
    source
}

const DEFAULT: &str = "
export default function () {
  const all = mix.reduce((sum, [, weight]) => sum + weight, 0);
  let left = Math.random() * all;
  const [call] = mix.find(([, weight]) => (left -= weight) < 0) || mix[0];
  call();
  sleep(1);
}
";

impl<'a> Writer<'_, 'a> {
    fn function(&mut self, operation: &Operation<'a>) -> Result<String, Error> {
        let mut parts = self.parts(operation)?;
        let body = body::body(self.document, operation, &mut self.script)?;
        if let Some(kind) = body.as_ref().and_then(|body| body.kind.as_deref()) {
            parts
                .headers
                .insert(0, ("Content-Type".to_owned(), Js::text(kind)));
        }
        if parts.cookies != Text::default() {
            parts
                .headers
                .push(("Cookie".to_owned(), Js::Text(parts.cookies)));
        }
        let mut params = Vec::new();
        if !parts.headers.is_empty() {
            params.push(("headers".to_owned(), Js::Object(parts.headers)));
        }
        if parts.template.contains("{}") {
            let name = format!("{} {}", operation.method, parts.template);
            let tags = vec![("name".to_owned(), Js::text(&name))];
            params.push(("tags".to_owned(), Js::Object(tags)));
        }
        let mut url = Text::name("BASE_URL");
        url.push(&self.base.prefix);
        url.append(parts.path);
        url.append(parts.query);
        let call = Call {
            method: operation.method.clone(),
            url,
            body: body.map(|body| body.source),
            params,
        };
        let Operation {
            method,
            path,
            name,
            summary,
            ..
        } = operation;
        let separator = if summary.is_empty() { "" } else { ": " };
        let about = comment(&format!("{method} {path}{separator}{summary}"));
        let (expected, condition) = expected(operation);
        let check = quoted(&format!("{name} is {expected}"));
        let call = call.source(2);
        Ok(format!(
            "\n// {about}\nfunction {name}() {{\n  const res = {call};\n  check(res, {{ {check}: (r) => {condition} }});\n}}\n"
        ))
    }

    fn parts(&mut self, operation: &Operation<'a>) -> Result<Parts, Error> {
        let mut parts = Parts::default();
        self.path(operation, &mut parts)?;
        for parameter in &operation.parameters {
            let name = &parameter.name;
            match parameter.place {
                Place::Path | Place::Body | Place::Form => {}
                Place::Query => self.query(parameter, &mut parts.query)?,
                Place::Header => {
                    let value = text(&self.sample(parameter)?);
                    parts.headers.push((name.clone(), Js::Text(value)));
                }
                Place::Cookie => {
                    let value = text(&self.sample(parameter)?);
                    add_cookie(&mut parts.cookies, name, value);
                }
            }
        }
        for credential in security::credentials(self.document, operation, &mut self.script)? {
            match credential {
                Credential::Header(name, value) => parts.headers.push((name, Js::Text(value))),
                Credential::Query(name, value) => add_query(&mut parts.query, &name, &value),
                Credential::Cookie(name, value) => add_cookie(&mut parts.cookies, &name, value),
            }
        }
        Ok(parts)
    }

    fn sample(&mut self, parameter: &Parameter<'a>) -> Result<Js, Error> {
        let mut sampler = Sampler::new(self.document, &mut self.script);
        sampler.of(&parameter.node, &parameter.name)
    }

    fn query(&mut self, parameter: &Parameter<'a>, query: &mut Text) -> Result<(), Error> {
        let name = &parameter.name;
        match self.sample(parameter)? {
            Js::List(values) if is_repeated(self.document.version, &parameter.node) => {
                values
                    .iter()
                    .for_each(|value| add_query(query, name, &text(value)));
            }
            Js::Object(fields) if parameter.node.text("style") == Some("deepObject") => {
                for (field, value) in fields {
                    add_query(query, &format!("{name}[{field}]"), &text(&value));
                }
            }
            value => add_query(query, name, &text(&value)),
        }
        Ok(())
    }

    /// `/pets/{petId}` with a constant for each parameter.
    fn path(&mut self, operation: &Operation<'a>, parts: &mut Parts) -> Result<(), Error> {
        let mut before = String::new();
        parts.template.push_str(&self.base.prefix);
        let mut rest = operation.path.as_str();
        while let Some((literal, name, after)) = next_parameter(rest) {
            parts.path.push(&encoded_path(literal));
            parts.template.push_str(literal);
            parts.template.push_str("{}");
            before.push_str(literal);
            let is_this = |parameter: &&Parameter<'_>| {
                parameter.place == Place::Path && parameter.name == name
            };
            let value = match operation.parameters.iter().find(is_this) {
                Some(parameter) => text(&self.sample(parameter)?),
                None => Text::literal("1"),
            };
            let constant = self.path_constant(&before, name, &value);
            parts.path.push_name(&constant);
            rest = after;
        }
        parts.path.push(&encoded_path(rest));
        parts.template.push_str(rest);
        Ok(())
    }

    fn path_constant(&mut self, before: &str, name: &str, value: &Text) -> String {
        if is_secret_name(name) {
            return self
                .script
                .variable(name, &format!("for {name} in a path"), None);
        }
        let of = before
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let of = of.strip_suffix('s').unwrap_or(of);
        let wanted = if UNSPECIFIC.contains(&name.to_ascii_lowercase().as_str()) {
            camel_case(&format!("{of} {name}"), "value")
        } else {
            camel_case(name, "value")
        };
        let known = self.paths.get(&wanted);
        if let Some((constant, _)) = known {
            return constant.clone();
        }
        let constant = self.script.names.unique(&wanted);
        let source = match value.literal_text() {
            Some(literal) => quoted(&encoded(&literal)),
            None => value.source(),
        };
        self.paths.insert(wanted, (constant.clone(), source));
        constant
    }
}

/// What stands before the next `{name}`, the name, and the rest.
fn next_parameter(path: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = path.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

fn add_query(query: &mut Text, name: &str, value: &Text) {
    query.push(if *query == Text::default() { "?" } else { "&" });
    query.push(&encoded(name));
    query.push("=");
    match value.literal_text() {
        Some(literal) => query.push(&encoded(&literal)),
        None => query.push_name(&format!("encodeURIComponent({})", value.source())),
    }
}

fn add_cookie(cookies: &mut Text, name: &str, value: Text) {
    cookies.push(if *cookies == Text::default() {
        ""
    } else {
        "; "
    });
    cookies.push(name);
    cookies.push("=");
    cookies.append(value);
}

fn encoded(text: &str) -> String {
    percent(text, "-._~")
}

/// A path as it stands may have a few characters more.
fn encoded_path(text: &str) -> String {
    percent(text, "-._~!$&'()*+,;=:@/%")
}

fn percent(text: &str, kept: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// What the answer should be, in words and as a condition.
fn expected(operation: &Operation<'_>) -> (String, String) {
    let responses = operation.node.get("responses");
    let told = responses
        .and_then(|responses| responses.fields().ok())
        .unwrap_or_default();
    let is_success = |code: &&str| code.len() == 3 && code.starts_with('2');
    let codes = told.iter().map(|(code, _)| *code).filter(is_success);
    let codes: Vec<&str> = codes
        .filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    match codes.as_slice() {
        [] => (
            "fine".to_owned(),
            "r.status >= 200 && r.status < 400".to_owned(),
        ),
        [code] => ((*code).to_owned(), format!("r.status === {code}")),
        several => (
            several.join(" or "),
            format!("[{}].includes(r.status)", several.join(", ")),
        ),
    }
}
