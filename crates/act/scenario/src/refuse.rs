//! What a script needs and is not there: found before it runs, by file and line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::api;
use crate::commonjs::Required;
use crate::jslib;
use crate::lexer::{Token, tokens};
use crate::sources::resolve;

mod options;

pub(crate) use options::options;

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
            let _ = write!(
                text,
                "{}{}: {}",
                if number == 0 { "" } else { "\n" },
                refusal.at,
                refusal.what
            );
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
    /// What it requires.
    pub(crate) required: Required,
    /// Names that it imports from each local module.
    pub(crate) names: BTreeMap<String, BTreeSet<String>>,
    /// It imports or exports.
    is_module: bool,
    /// It looks for `module` or `exports`.
    asks_for_exports: bool,
}

impl Looked {
    pub(crate) fn is_commonjs(&self) -> bool {
        !self.is_module && (self.asks_for_exports || !self.required.is_empty())
    }
}

struct Look<'a> {
    name: &'a str,
    tokens: Vec<Token>,
    found: Looked,
    /// Names that stand for a whole module of k6.
    aliases: BTreeMap<String, &'static [&'static str]>,
    modules: BTreeMap<String, String>,
    /// `require` means what it usually does.
    requires: bool,
}

pub(crate) fn is_typescript(name: &str) -> bool {
    std::path::Path::new(name)
        .extension()
        .is_some_and(|ending| ending == "ts" || ending == "tsx")
}

/// Looks through the source of a module.
pub(crate) fn module(name: &str, source: &str) -> Looked {
    let mut look = Look {
        name,
        tokens: tokens(source),
        found: Looked::default(),
        aliases: BTreeMap::new(),
        modules: BTreeMap::new(),
        requires: true,
    };
    if is_typescript(name) {
        let what = "TypeScript is not supported: compile it to JavaScript first, such as by \
                    `esbuild script.ts --bundle --format=esm --external:k6* --external:https://*`"
            .to_string();
        look.found.refusals.push(Refusal {
            at: name.into(),
            what,
        });
        return look.found;
    }
    look.requires = !look.is_redeclared("require");
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
            if self.is(at + 1, '(') && self.word(at).is_some_and(jslib::reads_pages) {
                let place = self.place(at);
                self.found.imports.push((jslib::html().module(), place));
            }
            return;
        }
        let is_key = self.is(at + 1, ':');
        match self.word(at) {
            Some("import") if !self.is(at + 1, '(') && !is_key => self.found.is_module = true,
            Some("export") if !is_key => self.found.is_module = true,
            Some("module") => {
                let exports = self.is(at + 1, '.') && self.word(at + 2) == Some("exports");
                self.found.asks_for_exports |= exports;
            }
            Some("exports") if !is_key => self.found.asks_for_exports = true,
            _ => {}
        }
        match self.word(at) {
            Some("import") if self.is(at + 1, '(') => {
                self.refuse(
                    at,
                    "import() is not supported: import the module at the top of the file".into(),
                );
            }
            Some("import") if !self.is(at + 1, '.') && !self.is(at + 1, ':') => self.import(at),
            Some("export") if self.is(at + 1, '{') || self.is(at + 1, '*') => self.export(at),
            // NTLM and digest want to see the server's answer first.
            Some("auth") if is_key => {
                let kind = self.tokens.get(at + 2).and_then(Token::text);
                if let Some(kind) = kind.filter(|kind| ["digest", "ntlm"].contains(kind)) {
                    let what = format!("auth: \"{kind}\" is not supported: basic is");
                    self.refuse(at, what);
                }
            }
            Some("crypto")
                if self.is(at + 1, '.')
                    && self.word(at + 2) == Some("subtle")
                    && !self.is_redeclared("crypto") =>
            {
                let what =
                    "crypto.subtle is not supported: the module 'k6/crypto' has hashes and HMACs";
                self.refuse(at, what.into());
            }
            Some("require")
                if self.requires && self.is(at + 1, '(') && !self.is_parameter(at + 2) =>
            {
                self.require(at);
            }
            _ => {}
        }
    }

    fn import(&mut self, at: usize) {
        if let Some(module) = self
            .tokens
            .get(at + 1)
            .and_then(Token::text)
            .map(str::to_string)
        {
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
        let Some(module) = self
            .tokens
            .get(next + 1)
            .and_then(Token::text)
            .map(str::to_string)
        else {
            return;
        };
        let Some(exports) = self.wants(next + 1, &module) else {
            self.names_of(&module, &whole, &names);
            return;
        };
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

    /// Takes note of what is imported from a local module.
    fn names_of(&mut self, module: &str, whole: &[String], names: &[(String, String, usize)]) {
        let Ok(module) = resolve(self.name, module) else {
            return;
        };
        let mut wanted: BTreeSet<String> = names.iter().map(|(name, ..)| name.clone()).collect();
        for at in 0..self.tokens.len() {
            let of_whole = self
                .word(at)
                .is_some_and(|word| whole.iter().any(|alias| alias == word));
            if of_whole && self.is(at + 1, '.') {
                wanted.extend(self.word(at + 2).map(str::to_string));
            }
        }
        self.found.names.entry(module).or_default().extend(wanted);
    }

    /// `require("module")`, and what the module is called from now on.
    fn require(&mut self, at: usize) {
        let module = self.tokens.get(at + 2).and_then(Token::text);
        let Some(module) = module.map(str::to_string).filter(|_| self.is(at + 3, ')')) else {
            let what = "require() wants the name of a module as text: what it names must be known before the script runs";
            self.refuse(at, what.into());
            return;
        };
        let exports = self.wants(at + 2, &module);
        if let Ok(name) = resolve(self.name, &module) {
            self.found.required.insert(module.clone(), name);
        }
        let Some(exports) = exports else { return };
        if self.is(at + 4, '.') {
            let name = self.word(at + 5).unwrap_or("default").to_string();
            if name != "default" && !exports.contains(&name.as_str()) {
                self.refuse(at + 5, lacking(&module, &name, exports));
            }
            return;
        }
        if let Some(alias) = at.checked_sub(2).and_then(|at| self.word(at))
            && self.is(at - 1, '=')
        {
            let alias = alias.to_string();
            self.modules.insert(alias.clone(), module);
            self.aliases.insert(alias, exports);
        }
    }

    /// Reads `a, b as c }`; returns where the brace is.
    fn names(&self, from: usize, names: &mut Vec<(String, String, usize)>) -> usize {
        let mut at = from;
        while at < self.tokens.len() && !self.is(at, '}') {
            let name = self
                .word(at)
                .or_else(|| self.tokens[at].text())
                .map(str::to_string);
            if let Some(name) = name {
                let alias = if self.word(at + 1) == Some("as") {
                    self.word(at + 2).map(str::to_string)
                } else {
                    None
                };
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
        let mut next = if self.is(at + 1, '{') {
            self.names(at + 2, &mut names) + 1
        } else {
            at + 2
        };
        if self.word(next) == Some("as") {
            next += 2;
        }
        if self.word(next) != Some("from") {
            return;
        }
        let Some(module) = self
            .tokens
            .get(next + 1)
            .and_then(Token::text)
            .map(str::to_string)
        else {
            return;
        };
        let Some(exports) = self.wants(next + 1, &module) else {
            return;
        };
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
        if let Some(library) = jslib::of_url(module) {
            let place = self.place(at);
            self.found.imports.push((library.module(), place));
            return Some(library.exports);
        }
        let remote = module.starts_with("https://") || module.starts_with("http://");
        if remote
            || module.starts_with("jslib.")
            || module.starts_with("cdnjs.com")
            || module.starts_with("github.com")
        {
            self.refuse(at, jslib::refusal(module));
        } else if module == "k6" || module.starts_with("k6/") {
            let known = api::MODULES.join(", ");
            self.refuse(
                at,
                format!("the module '{module}' is not supported; there are: {known}"),
            );
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
                let dot = if self.is(at + 1, '?') && self.is(at + 2, '.') {
                    at + 2
                } else {
                    at + 1
                };
                let property = if self.is(dot, '.') {
                    self.word(dot + 1).map(str::to_string)
                } else if self.is(dot, '[') && self.is(dot + 2, ']') {
                    self.tokens[dot + 1].text().map(str::to_string)
                } else {
                    None
                };
                let Some(property) = property else { continue };
                let inherited =
                    ["toString", "hasOwnProperty", "default"].contains(&property.as_str());
                let module = self.modules[&alias].clone();
                if !inherited && !exports.contains(&property.as_str()) {
                    self.refuse(dot + 1, lacking(&module, &property, exports));
                }
                let of_test = module == "k6/execution" && property == "test";
                if of_test && self.is(dot + 2, '.') && self.word(dot + 3) == Some("fail") {
                    let what = "exec.test.fail() is not supported: a threshold that is missed, or exec.test.abort(), fails the run";
                    self.refuse(dot + 3, what.into());
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
            let by_require = self.is(at + 1, '=') && self.word(at + 2) == Some("require");
            let declared = !by_require
                && matches!(
                    self.word(at - 1),
                    Some("const" | "let" | "var" | "function" | "class")
                );
            let arrow = self.is(at + 1, '=') && self.is(at + 2, '>');
            let listed = (self.is(at - 1, '(') || self.is(at - 1, ','))
                && (self.is(at + 1, ')') || self.is(at + 1, ','));
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
                    return self.is(next + 1, '{')
                        || self.is(next + 1, '=') && self.is(next + 2, '>');
                }
                depth -= 1;
            }
        }
        false
    }
}

fn lacking(module: &str, name: &str, exports: &[&str]) -> String {
    format!(
        "'{name}' of the module '{module}' is not supported; there are: {}",
        exports.join(", ")
    )
}
