//! The command of a helper, with what it is told filled in.

/// What stands for the words in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// The server's process.
    pub pid: i32,
    /// Where the server listens.
    pub host: String,
    /// On which port.
    pub port: u16,
    /// A directory of its own, whose files are kept.
    pub out: String,
    /// How long it is to look, whole seconds.
    pub seconds: u64,
}

/// Programs for other interpreters that helpers are made of, by the name that stands in `{script:NAME}`.
const SCRIPTS: [(&str, &str); 11] = [
    ("debugger.sh", include_str!("../scripts/debugger.sh")),
    ("inspect.js", include_str!("../scripts/inspect.js")),
    ("growth.py", include_str!("../scripts/growth.py")),
    (
        "java-stacks.awk",
        include_str!("../scripts/java-stacks.awk"),
    ),
    ("java-locks.awk", include_str!("../scripts/java-locks.awk")),
    ("tracer.sh", include_str!("../scripts/tracer.sh")),
    ("inject.sh", include_str!("../scripts/inject.sh")),
    ("locks.sh", include_str!("../scripts/locks.sh")),
    ("locks-end.sh", include_str!("../scripts/locks-end.sh")),
    ("profiler.sh", include_str!("../scripts/profiler.sh")),
    ("waits.sh", include_str!("../scripts/waits.sh")),
];

/// Fills a word in. What is in other braces stays, and what a script says too.
#[must_use]
pub fn fill(word: &str, values: &Values) -> String {
    let scripts = SCRIPTS.iter();
    let script = scripts.map(|(name, text)| (format!("{{script:{name}}}"), text));
    for (hole, text) in script {
        if let Some((before, after)) = word.split_once(&hole) {
            return format!("{}{text}{}", fill(before, values), fill(after, values));
        }
    }
    word.replace("{pid}", &values.pid.to_string())
        .replace("{host}", &values.host)
        .replace("{port}", &values.port.to_string())
        .replace("{out}", &values.out)
        .replace("{seconds}", &values.seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_braces_are_filled_in_and_others_stay() {
        let values = Values {
            pid: 7,
            host: "127.0.0.1".to_owned(),
            port: 8080,
            out: "/tmp/a".to_owned(),
            seconds: 10,
        };
        let word = "-p {pid} http://{host}:{port}/ -o {out}/x -d {seconds} {print $1}";
        let filled = "-p 7 http://127.0.0.1:8080/ -o /tmp/a/x -d 10 {print $1}";
        assert_eq!(fill(word, &values), filled);
        let script = fill("P={script:growth.py} {pid}", &values);
        assert!(script.starts_with("P=# Runs inside") && script.ends_with(" 7"));
    }
}
