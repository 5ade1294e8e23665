//! What a script needs and is not there: found before it runs, by file and line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::api;
use crate::bundle::Bundle;
use crate::lexer::{Token, tokens};
use crate::script::resolve;

/// One thing that is not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `file:line:column`.
    pub at: String,
    /// What it is, and what to do instead.
    pub what: String,
}

impl Refusal {
    pub(crate) fn all(refusals: &[Self]) -> String {
        let mut text = String::new();
        for (number, refusal) in refusals.iter().enumerate() {
            let _ = write!(text, "{}{}: {}", if number == 0 { "" } else { "\n" }, refusal.at, refusal.what);
        }
        text
    }
}

/// What was seen in a module.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Local modules it imports, each with where.
    pub(crate) imports: Vec<(String, String)>,
    pub(crate) refusals: Vec<Refusal>,
}

struct Look<'a> {
    name: &'a str,
    tokens: Vec<Token>,
    found: Looked,
    /// Names that stand for a whole module of k6.
    aliases: BTreeMap<String, &'static [&'static str]>,
    modules: BTreeMap<String, String>,
}

/// Looks through the source of a module.
pub(crate) fn module(name: &str, source: &str) -> Looked {
    let mut look = Look {
        name,
        tokens: tokens(source),
        found: Looked::default(),
        aliases: BTreeMap::new(),
        modules: BTreeMap::new(),
    };
    if std::path::Path::new(name).extension().is_some_and(|ending| ending == "ts" || ending == "tsx") {
        let what = "TypeScript is not supported: compile it to JavaScript first".to_string();
        look.found.refusals.push(Refusal {
            at: name.into(),
            what,
        });
        return look.found;
    }
    for at in 0..look.tokens.len() {
        look.at(at);
    }
    look.uses();
    look.found
}

impl Look<'_> {
    fn place(&self, at: usize) -> String {
        let token = &self.tokens[at];
        format!("{}:{}:{}", self.name, token.line, token.column)
    }

    fn refuse(&mut self, at: usize, what: String) {
        let at = self.place(at);
        self.found.refusals.push(Refusal { at, what });
    }

    fn is(&self, at: usize, sign: char) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(sign))
    }

    fn word(&self, at: usize) -> Option<&str> {
        self.tokens.get(at).and_then(Token::word)
    }

    fn after_dot(&self, at: usize) -> bool {
        at > 0 && self.is(at - 1, '.')
    }

    fn at(&mut self, at: usize) {
        if self.after_dot(at) {
            return;
        }
        match self.word(at) {
            Some("import") if self.is(at + 1, '(') => {
                self.refuse(at, "import() is not supported: import the module at the top of the file".into());
            }
            Some("import") if !self.is(at + 1, '.') && !self.is(at + 1, ':') => self.import(at),
            Some("export") if self.is(at + 1, '{') || self.is(at + 1, '*') => self.export(at),
            Some("require") if self.is(at + 1, '(') && self.word(at.wrapping_sub(1)) != Some("function") => {
                self.refuse(at, "require() is not supported: use import".into());
            }
            _ => {}
        }
    }

    fn import(&mut self, at: usize) {
        if let Some(module) = self.tokens.get(at + 1).and_then(Token::text).map(str::to_string) {
            self.wants(at + 1, &module);
            return;
        }
        let (mut next, mut whole, mut names) = (at + 1, Vec::new(), Vec::new());
        while next < self.tokens.len() && self.word(next) != Some("from") {
            match self.word(next) {
                _ if self.is(next, '*') => {
                    whole.extend(self.word(next + 2).map(str::to_string));
                    next += 2;
                }
                _ if self.is(next, '{') => {
                    next = self.names(next + 1, &mut names);
                }
                Some(alias) => whole.push(alias.to_string()),
                None if self.is(next, ',') => {}
                None => return,
            }
            next += 1;
        }
        let Some(module) = self.tokens.get(next + 1).and_then(Token::text).map(str::to_string) else { return };
        let Some(exports) = self.wants(next + 1, &module) else { return };
        for alias in whole {
            self.modules.insert(alias.clone(), module.clone());
            self.aliases.insert(alias, exports);
        }
        for (name, alias, at) in names {
            if name == "default" {
                self.modules.insert(alias.clone(), module.clone());
                self.aliases.insert(alias, exports);
            } else if !exports.contains(&name.as_str()) {
                self.refuse(at, lacking(&module, &name, exports));
            }
        }
    }

    /// Reads `a, b as c }`; returns where the brace is.
    fn names(&self, from: usize, names: &mut Vec<(String, String, usize)>) -> usize {
        let mut at = from;
        while at < self.tokens.len() && !self.is(at, '}') {
            let name = self.word(at).or_else(|| self.tokens[at].text()).map(str::to_string);
            if let Some(name) = name {
                let alias = if self.word(at + 1) == Some("as") { self.word(at + 2).map(str::to_string) } else { None };
                let step = if alias.is_some() { 2 } else { 0 };
                names.push((name.clone(), alias.unwrap_or(name), at));
                at += step;
            }
            at += 1;
        }
        at
    }

    fn export(&mut self, at: usize) {
        let mut names = Vec::new();
        let mut next = if self.is(at + 1, '{') { self.names(at + 2, &mut names) + 1 } else { at + 2 };
        if self.word(next) == Some("as") {
            next += 2;
        }
        if self.word(next) != Some("from") {
            return;
        }
        let Some(module) = self.tokens.get(next + 1).and_then(Token::text).map(str::to_string) else { return };
        let Some(exports) = self.wants(next + 1, &module) else { return };
        for (name, _, at) in names {
            if name != "default" && !exports.contains(&name.as_str()) {
                self.refuse(at, lacking(&module, &name, exports));
            }
        }
    }

    /// Takes note of a module that is wanted; returns what a module of k6 exports.
    fn wants(&mut self, at: usize, module: &str) -> Option<&'static [&'static str]> {
        if let Some(exports) = api::exports_of(module) {
            return Some(exports);
        }
        let remote = module.starts_with("https://") || module.starts_with("http://");
        if remote || module.starts_with("jslib.") || module.starts_with("cdnjs.com") || module.starts_with("github.com") {
            self.refuse(at, format!("'{module}' is on the network, from where nothing is imported: download it and import the local file"));
        } else if module == "k6" || module.starts_with("k6/") {
            let known = api::MODULES.join(", ");
            self.refuse(at, format!("the module '{module}' is not supported; there are: {known}"));
        } else {
            match resolve(self.name, module) {
                Ok(name) => {
                    let place = self.place(at);
                    self.found.imports.push((name, place));
                }
                Err(reason) => self.refuse(at, reason),
            }
        }
        None
    }

    /// Looks for `http.foo` of which there is no `foo`.
    fn uses(&mut self) {
        let aliases = std::mem::take(&mut self.aliases);
        for (alias, exports) in aliases {
            if self.is_redeclared(&alias) {
                continue;
            }
            for at in 0..self.tokens.len() {
                if self.word(at) != Some(alias.as_str()) || self.after_dot(at) {
                    continue;
                }
                let dot = if self.is(at + 1, '?') && self.is(at + 2, '.') { at + 2 } else { at + 1 };
                let property = if self.is(dot, '.') {
                    self.word(dot + 1).map(str::to_string)
                } else if self.is(dot, '[') && self.is(dot + 2, ']') {
                    self.tokens[dot + 1].text().map(str::to_string)
                } else {
                    None
                };
                let Some(property) = property else { continue };
                let inherited = ["toString", "hasOwnProperty", "default"].contains(&property.as_str());
                if !inherited && !exports.contains(&property.as_str()) {
                    let module = self.modules[&alias].clone();
                    self.refuse(dot + 1, lacking(&module, &property, exports));
                }
            }
        }
    }

    /// Whether a name may mean something else somewhere in the file.
    fn is_redeclared(&self, alias: &str) -> bool {
        (1..self.tokens.len()).any(|at| {
            if self.word(at) != Some(alias) || self.after_dot(at) {
                return false;
            }
            let declared = matches!(self.word(at - 1), Some("const" | "let" | "var" | "function" | "class"));
            let arrow = self.is(at + 1, '=') && self.is(at + 2, '>');
            let listed = (self.is(at - 1, '(') || self.is(at - 1, ',')) && (self.is(at + 1, ')') || self.is(at + 1, ','));
            declared || arrow || listed && self.is_parameter(at)
        })
    }

    /// Whether the parentheses around a place belong to a function that is being made.
    fn is_parameter(&self, at: usize) -> bool {
        let mut depth = 0_usize;
        for next in at..self.tokens.len() {
            if self.is(next, '(') {
                depth += 1;
            } else if self.is(next, ')') {
                if depth == 0 {
                    return self.is(next + 1, '{') || self.is(next + 1, '=') && self.is(next + 2, '>');
                }
                depth -= 1;
            }
        }
        false
    }
}

fn lacking(module: &str, name: &str, exports: &[&str]) -> String {
    format!("'{name}' of the module '{module}' is not supported; there are: {}", exports.join(", "))
}

/// Options that are heeded, or without effect in k6 itself when it runs locally.
const OPTIONS: [&str; 29] = [
    "batch", "batchPerHost", "cloud", "discardResponseBodies", "dns", "duration", "ext", "insecureSkipTLSVerify", "iterations",
    "maxRedirects", "minIterationDuration", "noConnectionReuse", "noCookiesReset", "noUsageReport", "noVUConnectionReuse", "rps",
    "scenarios", "setupTimeout", "stages", "summaryTimeUnit", "summaryTrendStats", "systemTags", "tags", "teardownTimeout",
    "thresholds", "throw", "userAgent", "vus", "vusMax",
];
/// Options of k6 that are not supported.
const UNSUPPORTED: [&str; 12] = [
    "blacklistIPs", "blockHostnames", "executionSegment", "executionSegmentSequence", "hosts", "httpDebug", "linger", "localIPs",
    "paused", "tlsAuth", "tlsCipherSuites", "tlsVersion",
];
const OF_EVERY_SCENARIO: [&str; 7] = ["executor", "startTime", "gracefulStop", "exec", "env", "tags", "options"];
/// The executors, and the keys of each.
const EXECUTORS: [(&str, &[&str]); 6] = [
    ("shared-iterations", &["vus", "iterations", "maxDuration"]),
    ("per-vu-iterations", &["vus", "iterations", "maxDuration"]),
    ("constant-vus", &["vus", "duration"]),
    ("ramping-vus", &["startVUs", "stages", "gracefulRampDown"]),
    ("constant-arrival-rate", &["rate", "timeUnit", "duration", "preAllocatedVUs", "maxVUs"]),
    ("ramping-arrival-rate", &["startRate", "timeUnit", "stages", "preAllocatedVUs", "maxVUs"]),
];

/// Looks through the evaluated options of a script.
pub(crate) fn options(options: &Value, bundle: &Bundle) -> Vec<Refusal> {
    let lines = Lines::of(bundle);
    let mut refusals = Vec::new();
    let Some(map) = options.as_object() else {
        return vec![lines.refuse(&[], "'options' is no object")];
    };
    for key in map.keys() {
        if UNSUPPORTED.contains(&key.as_str()) {
            refusals.push(lines.refuse(&[key], &format!("the option '{key}' is not supported")));
        } else if !OPTIONS.contains(&key.as_str()) {
            refusals.push(lines.refuse(&[key], &format!("there is no option '{key}'{}", near(key, &OPTIONS))));
        }
    }
    for (name, scenario) in map.get("scenarios").and_then(Value::as_object).into_iter().flatten() {
        self::scenario(name, scenario, bundle, &lines, &mut refusals);
    }
    let has_scenarios = map.contains_key("scenarios");
    if !has_scenarios && !bundle.exports.iter().any(|export| export == "default") {
        refusals.push(lines.refuse(&[], "the script exports no default function, and its options name no scenarios"));
    }
    refusals
}

fn scenario(name: &str, scenario: &Value, bundle: &Bundle, lines: &Lines, refusals: &mut Vec<Refusal>) {
    let mut refuse = |key: &str, what: String| {
        refusals.push(lines.refuse(&["scenarios", name, key], &what));
    };
    let executor = scenario["executor"].as_str().unwrap_or_default();
    let Some((_, keys)) = EXECUTORS.iter().find(|(known, _)| *known == executor) else {
        let known = EXECUTORS.map(|(known, _)| known);
        let what = format!("the scenario '{name}' has no executor that is supported ('{executor}'); there are: {}", known.join(", "));
        refuse("executor", what);
        return;
    };
    for key in scenario.as_object().into_iter().flat_map(|map| map.keys()) {
        if !OF_EVERY_SCENARIO.contains(&key.as_str()) && !keys.contains(&key.as_str()) {
            let what = format!("the executor '{executor}' of the scenario '{name}' has no '{key}'{}", near(key, keys));
            refuse(key, what);
        }
    }
    let exec = scenario["exec"].as_str().unwrap_or("default");
    if !bundle.exports.iter().any(|export| export == exec) {
        refuse("exec", format!("the scenario '{name}' runs '{exec}', which the script does not export as a function"));
    }
    if scenario["options"].get("browser").is_some() {
        refuse("options", format!("the scenario '{name}' wants a browser, which is not supported"));
    }
}

/// A suggestion, where a name is within two edits.
fn near(wrong: &str, known: &[&str]) -> String {
    let distance = |right: &str| edits(&wrong.to_lowercase(), &right.to_lowercase());
    let best = known.iter().min_by_key(|right| distance(right)).filter(|right| distance(right) <= 2);
    best.map_or_else(String::new, |right| format!(": did you mean '{right}'?"))
}

fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (at, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, b) in right.chars().enumerate() {
            let next = (diagonal + usize::from(a != b)).min(row[column] + 1).min(row[column + 1] + 1);
            diagonal = std::mem::replace(&mut row[column + 1], next);
        }
    }
    row[row.len() - 1]
}

/// Where each key of the options stands in the entry, as far as they are written there.
struct Lines {
    name: String,
    keys: BTreeMap<Vec<String>, (u32, u32)>,
}

impl Lines {
    fn of(bundle: &Bundle) -> Self {
        let tokens = tokens(bundle.modules.get(&bundle.entry).map_or("", String::as_str));
        let mut lines = Self {
            name: bundle.entry.clone(),
            keys: BTreeMap::new(),
        };
        let start = tokens.windows(3).position(|three| {
            matches!(three[0].word(), Some("const" | "let" | "var")) && three[1].word() == Some("options") && three[2].is('=')
        });
        if let Some(start) = start {
            lines.keys.insert(Vec::new(), (tokens[start + 1].line, tokens[start + 1].column));
            if tokens.get(start + 3).is_some_and(|token| token.is('{')) {
                lines.object(&tokens, start + 4, &mut Vec::new());
            }
        }
        lines
    }

    /// Reads the keys of an object from after its brace; returns where it ends.
    fn object(&mut self, tokens: &[Token], mut at: usize, path: &mut Vec<String>) -> usize {
        let mut at_key = true;
        let mut depth = 0_u32;
        while let Some(token) = tokens.get(at) {
            let key = token.word().or_else(|| token.text()).filter(|_| at_key && depth == 0);
            if let Some(key) = key {
                path.push(key.to_string());
                self.keys.insert(path.clone(), (token.line, token.column));
                at_key = false;
                let colon = tokens.get(at + 1).is_some_and(|token| token.is(':'));
                if colon && tokens.get(at + 2).is_some_and(|token| token.is('{')) {
                    at = self.object(tokens, at + 3, path);
                }
                path.pop();
            } else if token.is('}') && depth == 0 {
                return at;
            } else if token.is('{') || token.is('[') || token.is('(') {
                depth += 1;
            } else if token.is('}') || token.is(']') || token.is(')') {
                depth = depth.saturating_sub(1);
            } else if token.is(',') && depth == 0 {
                at_key = true;
            }
            at += 1;
        }
        at
    }

    fn refuse(&self, path: &[&str], what: &str) -> Refusal {
        let longest = (0..=path.len()).rev().find_map(|length| {
            let path: Vec<String> = path[..length].iter().map(ToString::to_string).collect();
            self.keys.get(&path)
        });
        let at = match longest {
            Some((line, column)) => format!("{}:{line}:{column}", self.name),
            None => self.name.clone(),
        };
        Refusal {
            at,
            what: what.into(),
        }
    }
}
