//! JavaScript's tokens, as far as they are needed to see what a script imports and uses: comments, strings, templates and
//! regular expressions are told from code.

/// A token and where it begins; lines and columns from 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Word(String),
    /// A string without escapes resolved.
    Text(String),
    Sign(char),
    /// A piece of a template, without escapes resolved: what stands before, between or after what is put in.
    Piece {
        text: String,
        first: bool,
        last: bool,
    },
    /// A number or a regular expression.
    Other,
}

impl Token {
    pub(crate) fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }

    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
}

struct Lexer<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    line: u32,
    column: u32,
    tokens: Vec<Token>,
    /// Depth of braces at which each open `${` ends.
    templates: Vec<u32>,
    braces: u32,
}

pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        chars: source.chars().peekable(),
        line: 1,
        column: 1,
        tokens: Vec::new(),
        templates: Vec::new(),
        braces: 0,
    };
    while lexer.token() {}
    lexer.tokens
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn push(&mut self, kind: Kind, (line, column): (u32, u32)) {
        self.tokens.push(Token { kind, line, column });
    }

    /// Reads one token or stretch of nothing; false at the end.
    fn token(&mut self) -> bool {
        let at = (self.line, self.column);
        let Some(c) = self.next() else { return false };
        match c {
            c if c.is_whitespace() => {}
            '/' if self.chars.peek() == Some(&'/') => {
                while self.next().is_some_and(|c| c != '\n') {}
            }
            '/' if self.chars.peek() == Some(&'*') => self.block_comment(),
            '#' if at == (1, 1) => while self.next().is_some_and(|c| c != '\n') {},
            '/' if self.regex_may_follow() => {
                self.regex();
                self.push(Kind::Other, at);
            }
            '"' | '\'' => {
                let text = self.string(c);
                self.push(Kind::Text(text), at);
            }
            '`' => {
                let piece = self.template(true);
                self.push(piece, at);
            }
            '{' => {
                self.braces += 1;
                self.push(Kind::Sign(c), at);
            }
            '}' => {
                self.braces = self.braces.saturating_sub(1);
                if self.templates.last() == Some(&self.braces) {
                    self.templates.pop();
                    let piece = self.template(false);
                    self.push(piece, at);
                } else {
                    self.push(Kind::Sign(c), at);
                }
            }
            c if c.is_alphabetic() || c == '_' || c == '$' => {
                let word = self.run(c, |c| c.is_alphanumeric() || c == '_' || c == '$');
                self.push(Kind::Word(word), at);
            }
            c if c.is_ascii_digit() => {
                self.run(c, |c| c.is_alphanumeric() || c == '_' || c == '.');
                self.push(Kind::Other, at);
            }
            other => self.push(Kind::Sign(other), at),
        }
        true
    }

    fn run(&mut self, first: char, goes_on: fn(char) -> bool) -> String {
        let mut word = String::from(first);
        while self.chars.peek().is_some_and(|c| goes_on(*c)) {
            word.extend(self.next());
        }
        word
    }

    fn block_comment(&mut self) {
        self.next();
        let mut star = false;
        while let Some(c) = self.next() {
            if star && c == '/' {
                return;
            }
            star = c == '*';
        }
    }

    fn string(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(c) = self.chars.peek().copied() {
            if c == '\n' {
                break;
            }
            self.next();
            match c {
                '\\' => text.extend(self.next()),
                c if c == quote => break,
                c => text.push(c),
            }
        }
        text
    }

    /// Reads a piece of a template, up to the template's end or to the next `${`.
    fn template(&mut self, first: bool) -> Kind {
        let mut text = String::new();
        let mut last = true;
        while let Some(c) = self.next() {
            match c {
                '\\' => {
                    text.push(c);
                    text.extend(self.next());
                }
                '`' => break,
                '$' if self.chars.peek() == Some(&'{') => {
                    self.next();
                    self.templates.push(self.braces);
                    self.braces += 1;
                    last = false;
                    break;
                }
                c => text.push(c),
            }
        }
        Kind::Piece { text, first, last }
    }

    fn regex(&mut self) {
        let mut class = false;
        while let Some(c) = self.chars.peek().copied() {
            if c == '\n' {
                return;
            }
            self.next();
            match c {
                '\\' => drop(self.next()),
                '[' => class = true,
                ']' => class = false,
                '/' if !class => break,
                _ => {}
            }
        }
        while self.chars.peek().is_some_and(|c| c.is_alphabetic()) {
            self.next();
        }
    }

    /// Whether a `/` begins a regular expression rather than divides.
    fn regex_may_follow(&self) -> bool {
        const BEFORE: [&str; 13] = [
            "return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "else", "do",
            "await", "yield",
        ];
        match self.tokens.last().map(|token| &token.kind) {
            None => true,
            Some(Kind::Sign(sign)) => !matches!(sign, ')' | ']' | '}'),
            Some(Kind::Word(word)) => BEFORE.contains(&word.as_str()),
            Some(Kind::Text(_) | Kind::Piece { .. } | Kind::Other) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_seen() {
        let source = "a /* b */ // c\n 'd' `e ${f + `${g}`} h`; /i['\"]/.j; k / l / m; x = {n: 1}";
        let words: Vec<String> = tokens(source)
            .into_iter()
            .filter_map(|token| token.word().map(str::to_string))
            .collect();
        assert_eq!(words, ["a", "f", "g", "j", "k", "l", "m", "x", "n"]);
        let at = tokens("a\n  b")
            .into_iter()
            .map(|token| (token.line, token.column))
            .collect::<Vec<_>>();
        assert_eq!(at, [(1, 1), (2, 3)]);
    }
}
