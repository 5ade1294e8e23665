//! What an answer says that it should not.

/// Words of a database that could not read what it was asked.
const OF_DATABASES: [&str; 14] = [
    "You have an error in your SQL syntax",
    "sqlite3.OperationalError",
    "SQLITE_ERROR",
    "unrecognized token: \"",
    "unterminated quoted string",
    "unterminated string literal",
    "psycopg2.errors.",
    "PG::SyntaxError",
    "syntax error at or near",
    "Unclosed quotation mark",
    "quoted string not properly terminated",
    "ORA-00933",
    "ORA-01756",
    "MySqlException",
];

/// What stands in texts that were meant for developers.
const OF_TRACES: [&str; 13] = [
    "Traceback (most recent call last)",
    "stack backtrace:",
    "panicked at ",
    "Werkzeug Debugger",
    "You're seeing this error because you have <code>DEBUG = True</code>",
    "goroutine 1 [",
    "<b>Fatal error</b>:",
    "Microsoft.AspNetCore.",
    "System.NullReferenceException",
    "org.springframework.",
    "java.lang.",
    "ActionController::",
    "\\n    at Object.",
];

/// An error of a database in this text.
pub(crate) fn database(text: &str) -> Option<&'static str> {
    OF_DATABASES.into_iter().find(|sign| text.contains(sign))
}

/// A trace in this text, by its first line.
pub(crate) fn trace(text: &str) -> Option<String> {
    let known = OF_TRACES.into_iter().find(|sign| text.contains(sign));
    known
        .map(|sign| sign.trim().trim_start_matches("\\n").trim().to_owned())
        .or_else(|| frame(text))
}

/// Two frames of JavaScript or Java at least: `    at f (/app/x.js:10:5)`. Lines may be separated as in JSON or HTML.
fn frame(text: &str) -> Option<String> {
    let plain = text
        .replace("\\n", "\n")
        .replace("<br>", "\n")
        .replace("&nbsp;", " ");
    let frames: Vec<&str> = plain
        .lines()
        .map(str::trim)
        .filter(|line| is_frame(line))
        .collect();
    (frames.len() >= 2).then(|| frames[0].chars().take(100).collect())
}

fn is_frame(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("at ") else {
        return false;
    };
    let numbers = rest.trim_end_matches([')', '"', '}', ',']).rsplit(':');
    let numbered = numbers
        .take(1)
        .all(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()));
    numbered && rest.contains(['/', '('])
}

/// A file of accounts, as every Unix has one: `root:x:0:0:...`.
pub(crate) fn accounts(text: &str) -> bool {
    let plain = text.replace("\\n", "\n");
    plain.lines().any(|line| {
        let line = line.trim_start_matches(|it: char| !it.is_ascii_lowercase());
        let at = line.find("root:");
        at.is_some_and(|at| {
            let mut fields = line[at..].split(':');
            let root = fields.nth(2) == Some("0") && fields.next() == Some("0");
            root && fields.count() >= 3
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_known_and_texts_about_them_are_not() {
        assert!(
            trace("{\"stack\":\"Error: x\\n    at f (/app/a.js:1:2)\\n    at g (/app/b.js:3:4)\"}")
                .is_some()
        );
        assert!(
            trace(
                "Error: no<br> &nbsp; &nbsp;at f (/app/a.js:1:2)<br> &nbsp; &nbsp;at /app/b.js:3:4"
            )
            .is_some()
        );
        assert!(trace("{\"error\":\"thread panicked at src/a.rs:3:4\"}").is_some());
        for text in [
            "",
            "look at 12:30",
            "meet\nat noon (10:30)\n",
            "{\"error\":\"no such item\"}",
        ] {
            assert_eq!(trace(text), None, "{text}");
        }
    }

    #[test]
    fn accounts_are_known_by_their_first() {
        assert!(accounts(
            "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\n"
        ));
        assert!(accounts(
            "{\"text\":\"root:x:0:0:root:/root:/bin/bash\\n\"}"
        ));
        assert!(!accounts("not found: ../../etc/passwd"));
        assert!(!accounts("the root: 0:0"));
    }
}
