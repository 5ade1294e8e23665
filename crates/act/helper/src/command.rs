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

/// Fills a word in. What is in other braces stays.
#[must_use]
pub fn fill(word: &str, values: &Values) -> String {
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
    }
}
