//! Stacks of all threads of Python, as `py-spy dump --json` writes them, one list for each look.

use cohort_model::HelperTold;
use serde::Deserialize;

use super::Error;
use super::profile::Profile;

/// Places that are told at most.
const TOLD_MAX: usize = 3;

#[derive(Debug, Deserialize)]
struct Thread {
    frames: Vec<Frame>,
}

#[derive(Debug, Deserialize)]
struct Frame {
    name: String,
    filename: String,
    line: u32,
}

/// Where threads stand in the program's own code in every look, those of most threads first.
///
/// # Errors
/// When it is something else.
pub(super) fn read(output: &str, program: &str) -> Result<(Profile, Vec<HelperTold>), Error> {
    let mut profile = Profile::default();
    let mut looks = 0;
    for look in serde_json::Deserializer::from_str(output).into_iter::<Vec<Thread>>() {
        let threads = look.map_err(|error| Error::Line {
            line: error.line(),
            found: output
                .lines()
                .nth(error.line().saturating_sub(1))
                .unwrap_or("")
                .chars()
                .take(80)
                .collect(),
            expected: "threads with their frames, as `py-spy dump --json` writes them",
        })?;
        looks += 1;
        for thread in threads {
            let frames = thread.frames.iter().rev();
            let frames = frames.map(|it| format!("{} ({}:{})", it.name, it.filename, it.line));
            profile.add(frames.collect(), 1);
        }
    }
    if looks == 0 {
        return Err(Error::NoStacks);
    }
    let own = profile.clone().within(program);
    let mut by: Vec<_> = own.by_function(program).into_values().collect();
    by.sort_by_key(|share| std::cmp::Reverse(share.samples));
    let told = by
        .iter()
        .filter(|share| share.samples >= looks)
        .take(TOLD_MAX);
    let told = told.map(|share| {
        let threads = (share.samples as f64 / looks as f64).round();
        let stand = if threads > 1.0 {
            format!("{threads} threads stand")
        } else {
            "a thread stands".to_owned()
        };
        share.tell(&format!(
            "In {looks} of {looks} looks {stand} in {}.",
            share.whom()
        ))
    });
    let told = told.collect();
    Ok((profile, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(threads: &[&[(&str, &str, u32)]]) -> String {
        let threads = threads.iter().map(|frames| {
            let frames: Vec<_> = frames
                .iter()
                .map(|(name, filename, line)| serde_json::json!({"name": name, "filename": filename, "line": line, "locals": null}))
                .collect();
            serde_json::json!({"pid": 1, "thread_name": "a", "active": false, "frames": frames})
        });
        serde_json::Value::from(threads.collect::<Vec<_>>()).to_string()
    }

    #[test]
    fn where_threads_stand_in_all_looks_is_told_and_who_serves_is_not() {
        let main: &[(&str, &str, u32)] = &[
            ("select", "/usr/lib/python3/selectors.py", 415),
            ("<module>", "/srv/app.py", 90),
        ];
        let buys: &[(&str, &str, u32)] = &[
            ("buy", "/srv/app.py", 31),
            ("answer", "/srv/app.py", 60),
            ("run", "/usr/lib/python3/threading.py", 9),
        ];
        let passes: &[(&str, &str, u32)] = &[
            ("list_all", "/srv/app.py", 12),
            ("answer", "/srv/app.py", 61),
        ];
        let output = [
            look(&[main, buys, buys, passes]),
            look(&[main, buys, buys]),
            look(&[main, buys, buys]),
        ]
        .join("\n");
        let (_, told) = read(&output, "python3").expect("dumps");
        let told: Vec<&str> = told.iter().map(|it| it.sentence.as_str()).collect();
        assert_eq!(
            told,
            ["In 3 of 3 looks 2 threads stand in `buy (srv/app.py:31)`, called by `answer`."]
        );
    }

    #[test]
    fn what_is_no_dump_is_named() {
        let error = read("Error: Permission Denied\n", "python3").expect_err("no dump");
        assert!(error.to_string().contains("Permission Denied"), "{error}");
        assert_eq!(read("", "python3").expect_err("nothing"), Error::NoStacks);
    }
}
