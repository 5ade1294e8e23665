//! What the command line asks for.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: shop --port N --data DIR [--host ADDRESS] [--access-log FILE]
       SHOP_DEFECTS=NAME,NAME plants defects: memory-leak, descriptor-leak, slow-query, lock-across-io,
       crash, race, cpu-blowup, missing-headers, traversal, reflected-input, open-redirect, verbose-error,
       weak-cookie, unexpected-listener, vulnerable-dependency; SHOP_DEFECTS_AFTER=20s lets them begin later";

/// The command line, checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub host: String,
    /// 0: any that is free.
    pub port: u16,
    /// Folder of the database file and of receipts.
    pub data: PathBuf,
    /// Where a line for each call is appended.
    pub access_log: Option<PathBuf>,
}

impl Arguments {
    /// The error is for a person.
    pub(crate) fn parse(words: &[String]) -> Result<Arguments, String> {
        let (mut port, mut data, mut access_log) = (None, None, None);
        let mut host = "0.0.0.0".to_string();
        let mut words = words.iter();
        while let Some(flag) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--host" => host = value()?.clone(),
                "--port" => {
                    let text = value()?;
                    let number = text
                        .parse()
                        .map_err(|_| format!("--port {text} is no port number"))?;
                    port = Some(number);
                }
                "--data" => data = Some(PathBuf::from(value()?)),
                "--access-log" => access_log = Some(PathBuf::from(value()?)),
                _ => return Err(format!("there is no flag {flag}")),
            }
        }
        Ok(Arguments {
            host,
            port: port.ok_or("--port is missing")?,
            data: data.ok_or("--data is missing")?,
            access_log,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(&line.split(' ').map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_understood_or_refused() {
        let right = parse("--port 80 --data d").expect("right");
        assert_eq!((right.port, right.access_log), (80, None));
        for wrong in [
            "--data d",
            "--port 80",
            "--port x --data d",
            "--port 99999 --data d",
            "--fast",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
