//! What every drafted script has: its head, its constants, its options.

use std::collections::BTreeMap;

use crate::js::{Js, LINE_MAX, Text, comment, quoted};
use crate::names::{Names, upper_case};
use crate::{Draft, Variable};

/// A script that is being written.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Names of constants, functions and variables that are used.
    pub(crate) names: Names,
    variables: Vec<Variable>,
    /// Which constant holds which secret value.
    secrets: BTreeMap<String, String>,
    notes: Vec<String>,
}

impl Script {
    /// Says something, once.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = comment(&note.into());
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// A constant that is read from the environment; the same one for the same `value` of a file,
    /// and, when there is no value, for the same name and meaning.
    pub(crate) fn variable(&mut self, wanted: &str, meaning: &str, value: Option<&str>) -> String {
        if let Some(known) = value.and_then(|value| self.secrets.get(value)) {
            return known.clone();
        }
        let wanted = upper_case(wanted, "VALUE");
        let meaning = comment(meaning);
        let same = |known: &&Variable| known.name.starts_with(&wanted) && known.meaning == meaning;
        if value.is_none()
            && let Some(known) = self.variables.iter().find(same)
        {
            return known.name.clone();
        }
        let name = self.names.unique(&wanted);
        self.variables.push(Variable {
            name: name.clone(),
            meaning,
        });
        if let Some(value) = value {
            self.secrets.insert(value.to_owned(), name.clone());
        }
        name
    }

    /// Secret values, and the constants for them.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        let secrets = self.secrets.iter();
        secrets.map(|(value, name)| (value.as_str(), name.as_str()))
    }

    /// Puts head, constants and options before `body`.
    pub(crate) fn finish(self, title: &str, origin: &str, body: &str) -> Draft {
        let mut script = format!("// {}\n", comment(title));
        for note in &self.notes {
            script.push_str(&format!("// {note}\n"));
        }
        script.push('\n');
        script.push_str("import http from 'k6/http';\n");
        let used = ["check", "group", "sleep"];
        let used = used.into_iter().filter(|name| calls(body, name));
        let used: Vec<&str> = used.collect();
        if !used.is_empty() {
            script.push_str(&format!("import {{ {} }} from 'k6';\n", used.join(", ")));
        }
        script.push_str("\n// Where the service is. A slash at the end is left out.\n");
        let origin = quoted(origin);
        script.push_str(&format!(
            "const BASE_URL = (__ENV.BASE_URL || {origin}).replace(/\\/+$/, '');\n"
        ));
        if !self.variables.is_empty() {
            script.push_str(
                "\n// To be given in the environment; nothing secret stands in this file.\n",
            );
        }
        for variable in &self.variables {
            let Variable { name, meaning } = variable;
            script.push_str(&format!(
                "const {name} = __ENV.{name} || ''; // {meaning}\n"
            ));
        }
        script.push_str(OPTIONS);
        script.push_str(body);
        Draft {
            script,
            variables: self.variables,
            notes: self.notes,
        }
    }
}

fn calls(body: &str, name: &str) -> bool {
    body.match_indices(&format!("{name}(")).any(|(at, _)| {
        let before = body[..at].chars().next_back();
        !before.is_some_and(|char| char.is_ascii_alphanumeric() || char == '_' || char == '.')
    })
}

const OPTIONS: &str = "
export const options = {
  vus: 1,
  duration: '30s',
  thresholds: {
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
  },
};
";

/// One request as it is written: `http.post(url, body, params)`.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) url: Text,
    pub(crate) body: Option<String>,
    /// Names and values of `params`.
    pub(crate) params: Vec<(String, Js)>,
}

impl Call {
    /// As source, in a line indented by `indent` spaces.
    pub(crate) fn source(&self, indent: usize) -> String {
        let mut arguments = Vec::new();
        let (function, takes_body) = match self.method.as_str() {
            "GET" => ("get", false),
            "HEAD" => ("head", false),
            "POST" => ("post", true),
            "PUT" => ("put", true),
            "PATCH" => ("patch", true),
            "DELETE" => ("del", true),
            "OPTIONS" => ("options", true),
            _ => ("request", true),
        };
        // What sends no body in k6 is asked for by its method's name when it has one.
        let function = if takes_body || self.body.is_none() {
            function
        } else {
            "request"
        };
        if function == "request" {
            arguments.push(quoted(&self.method));
        }
        arguments.push(self.url.source());
        if function != "get" && function != "head" {
            match &self.body {
                Some(body) => arguments.push(body.clone()),
                None if !self.params.is_empty() => arguments.push("null".to_owned()),
                None => {}
            }
        }
        if self.params.is_empty() {
            return format!("http.{function}({})", arguments.join(", "));
        }
        let params = Js::Object(self.params.clone());
        let before = format!("http.{function}({}, ", arguments.join(", "));
        let last_line = before.rsplit('\n').next().unwrap_or_default().len();
        let line = params.line();
        if indent + last_line + line.len() <= LINE_MAX {
            format!("{before}{line})")
        } else {
            format!("{before}{})", params.lines(indent))
        }
    }
}

/// Between the parts of a form that has files.
const BOUNDARY: &str = "cohort-draft-boundary";

/// A form that has files: its source and content type.
pub(crate) fn multipart(fields: impl Iterator<Item = (String, Text)>) -> (String, String) {
    let mut source = Text::default();
    for (name, value) in fields {
        let name = name.replace(['"', '\r', '\n'], "");
        source.push(&format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n"
        ));
        source.append(value);
        source.push("\r\n");
    }
    source.push(&format!("--{BOUNDARY}--\r\n"));
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    (source.source(), kind)
}
