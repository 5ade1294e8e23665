//! A command line of a server: words for the system, or text for a shell.

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// The program and its arguments. Text with the syntax of a shell is run by `sh`, as its writer expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine(pub(crate) Vec<String>);

/// What a shell knows, and the system does not.
const BUILT_IN: [&str; 8] = [
    ".", "cd", "exec", "export", "set", "source", "ulimit", "umask",
];

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<CommandLine, D::Error> {
        input.deserialize_any(LineVisitor).map(CommandLine)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Vec<String>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(
            "a command, such as \"./server --port {port}\" or [\"./server\", \"--port\", \"{port}\"]",
        )
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        let words = shell_words::split(text)
            .map_err(|error| E::custom(format!("{text:?} is no command: {error}")))?;
        if is_for_a_shell(text, &words) {
            return Ok(["sh", "-e", "-c", text.trim()].map(str::to_owned).to_vec());
        }
        Ok(words)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = items.next_element()? {
            words.push(word);
        }
        Ok(words)
    }
}

/// Whether `text`, of which these are the words, means something only to a shell.
fn is_for_a_shell(text: &str, words: &[String]) -> bool {
    let first = words.first().map_or("", String::as_str);
    BUILT_IN.contains(&first) || sets_a_variable(first) || has_operator(text.trim())
}

/// `NAME=value` in front of a command.
fn sets_a_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && !name.starts_with(|letter: char| letter.is_ascii_digit())
            && name
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || it == b'_')
    })
}

/// Operators and expansions that no quote takes their meaning. A `&` is one when it is doubled or stands
/// alone, so that addresses with queries are left as they are.
fn has_operator(text: &str) -> bool {
    let mut quote = None;
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let next = letters.peek().copied().unwrap_or(' ');
        match (quote, letter) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), _) => {}
            (_, '\\') => {
                letters.next();
            }
            (_, '`') => return true,
            (_, '$') if next == '_' || next == '{' || next == '(' || next.is_ascii_alphabetic() => {
                return true;
            }
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, ';' | '|' | '<' | '>' | '\n') => return true,
            (None, '&') if next == '&' || before.is_whitespace() && next.is_whitespace() => {
                return true;
            }
            (None, _) => {}
        }
        before = letter;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<String> {
        let table = format!("command = {}", toml::Value::String(text.to_owned()));
        let table: std::collections::BTreeMap<String, CommandLine> =
            toml::from_str(&table).unwrap();
        table["command"].0.clone()
    }

    #[test]
    fn what_only_a_shell_understands_is_run_by_one() {
        for text in [
            "npm ci && npm run build",
            "cd app; make",
            "DEBUG=1 ./server --port {port}",
            "gunicorn -b :$PORT app:app",
            "gunicorn -b \":${PORT}\" app:app",
            "./server > log.txt",
            "./server &",
            "exec ./server",
            "make\n./prepare",
            "./server --key `cat key`",
            "./server 2>&1 | tee log",
        ] {
            assert_eq!(line(text), ["sh", "-e", "-c", text], "{text}");
        }
    }

    #[test]
    fn everything_else_is_words() {
        for (text, words) in [
            (
                "./server  --port {port}",
                vec!["./server", "--port", "{port}"],
            ),
            (
                "python -c 'import x; y($a)'",
                vec!["python", "-c", "import x; y($a)"],
            ),
            (
                "./s --proxy http://a/?b=1&c=2",
                vec!["./s", "--proxy", "http://a/?b=1&c=2"],
            ),
            ("./s --set a=b", vec!["./s", "--set", "a=b"]),
            (
                r"./s \; \$HOME '$A' 5$",
                vec!["./s", ";", "$HOME", "$A", "5$"],
            ),
            ("\n  ./s\n", vec!["./s"]),
            ("", vec![]),
        ] {
            assert_eq!(line(text), words, "{text}");
        }
    }
}
