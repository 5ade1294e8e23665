//! What is made of the words of a Java virtual machine, by the scripts themselves.

use std::io::Write;
use std::process::{Command, Stdio};

use cohort_helper::{Reads, Values, fill, reading};

/// What a script of `awk` makes of a text that it reads so many times.
fn made(script: &str, text: &str, times: usize) -> String {
    let values = Values {
        pid: 1,
        host: String::new(),
        port: 1,
        out: String::new(),
        seconds: 1,
    };
    let program = fill(&format!("{{script:{script}}}"), &values);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let output = Command::new("awk")
        .arg(program)
        .args(vec![file.path(); times])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn samples_of_the_flight_recorder_are_stacks_with_places_of_own_code() {
    let sample = "jdk.ExecutionSample {\n  startTime = 05:38:38.961\n  sampledThread = \"main\" (javaThreadId = 1)\n  \
                  state = \"STATE_RUNNABLE\"\n  stackTrace = [\n    java.util.regex.Pattern$Loop.match(Matcher, int) line: 4897\n    \
                  shop.Search$Index.matches(String) line: 14\n    shop.Main.answer(HttpExchange) line: 33\n    \
                  java.lang.Thread.run() line: 840\n    ...\n  ]\n}\n\n";
    let own = sample.replace("shop.Search$Index.matches", "jdk.jfr.internal.Writer.put");
    let folded = made("java-stacks.awk", &(sample.repeat(9) + &own), 1);
    let expected = "java.lang.Thread.run;shop.Main.answer (Main.java:33);shop.Search$Index.matches (Search.java:14);\
                    java.util.regex.Pattern$Loop.match 9\n";
    assert_eq!(folded, expected);
    let found = reading::read(Reads::Folded, &folded.replace(" 9", " 90"), "java").unwrap();
    let told = &found.told[0].sentence;
    let wanted = "100 % of the CPU time goes to `shop.Search$Index.matches (Search.java:14)`";
    assert!(told.starts_with(wanted), "{told}");
}

#[test]
fn a_deadlock_and_the_lock_that_most_wait_for_are_told() {
    let told = made("java-locks.awk", include_str!("threads.txt"), 3);
    let found = reading::read(Reads::Json, &told, "java").unwrap();
    let sentences: Vec<&str> = found.told.iter().map(|it| it.sentence.as_str()).collect();
    let circle = "A deadlock: \"pool-1-thread-16\" waits at Shop.refund (Shop.java:17) for a lock that \"pool-1-thread-8\" holds, \
                  and \"pool-1-thread-8\" waits at Shop.buy (Shop.java:16) for a lock that \"pool-1-thread-16\" holds.";
    assert_eq!(sentences[0], circle);
    assert!(
        sentences[1].starts_with("8 threads wait for one lock, 7 of them at Shop.buy (Shop.java:16); \"pool-1-thread-8\" holds it"),
        "{sentences:?}"
    );
}

#[test]
fn threads_that_wait_for_nothing_of_each_other_tell_nothing() {
    let calm = "\"main\" #1 prio=5\n   java.lang.Thread.State: RUNNABLE\n\tat shop.Main.run(Main.java:3)\n\n";
    assert_eq!(made("java-locks.awk", calm, 3), "");
}
