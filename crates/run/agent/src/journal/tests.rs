use cohort_scenario::{Answer, Birth, Permit, Reply, TransportError};

use super::*;

fn how() -> How {
    How::Script {
        birth: Box::new(Birth::default()),
    }
}

/// As a thread does: whatever comes of it has to be read as a `Record`.
fn write(file: &mut JournalFile, answer: &Answer) {
    match &answer.reply {
        Reply::Responses(outcomes) => file.responses(answer.at_us, outcomes).unwrap(),
        _ => {
            // A record of an answer that came in no computation encodes as this.
            let bytes = postcard::to_allocvec(&(answer, None::<u64>)).unwrap();
            let record: Record = postcard::from_bytes(&bytes).unwrap();
            file.answer(&record).unwrap()
        }
    };
}

fn answers() -> Vec<Answer> {
    let response = Response {
        status: 200,
        proto: "HTTP/1.1".to_owned(),
        headers: vec![("a".to_owned(), "b".to_owned())],
        body: (0..5_000_u32).map(|byte| byte as u8).collect(),
        timings: Timings {
            waiting_us: 1_234,
            ..Timings::default()
        },
        remote_ip: "127.0.0.1".to_owned(),
        remote_port: 4_000,
    };
    let error = TransportError {
        code: 1_050,
        message: "request timeout".to_owned(),
        timings: Timings::default(),
    };
    vec![
        Answer::new(1, Reply::Resume),
        Answer::new(2, Reply::Begin(Permit::default())),
        Answer::new(3, Reply::Responses(vec![Ok(response), Err(error)])),
        Answer::new(4, Reply::Woken),
    ]
}

#[test]
fn answers_come_back_as_they_were_whatever_their_size() {
    let directory = tempfile::tempdir().unwrap();
    let mut file = JournalFile::create(directory.path(), ThreadId(7), &how()).unwrap();
    let mut expected = Vec::new();
    for _ in 0..20 {
        for answer in answers() {
            write(&mut file, &answer);
            expected.push(answer);
        }
    }
    file.intent(0).unwrap();
    file.intent(3).unwrap();
    // Nothing is flushed or closed: that is what a kill leaves behind.
    std::mem::forget(file);
    let found = recover(&directory.path().join(file_name(ThreadId(7)))).unwrap();
    assert_eq!(found.thread, ThreadId(7));
    assert_eq!(found.how, how());
    let found_answers: Vec<Answer> = found
        .records
        .iter()
        .map(|record| record.answer.clone())
        .collect();
    assert_eq!(found_answers, expected);
    assert_eq!(found.intents, [0, 3]);
    assert_eq!(found.begun, 20);
    assert!(!found.ended && !found.beyond);
}

#[test]
fn an_answer_settles_the_intents_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut file = JournalFile::create(directory.path(), ThreadId(1), &how()).unwrap();
    file.intent(0).unwrap();
    write(&mut file, &answers()[2]);
    file.ended().unwrap();
    let survey = survey(&directory.path().join(file_name(ThreadId(1)))).unwrap();
    assert_eq!((survey.answers, survey.ended), (1, true));
}

#[test]
fn what_comes_after_giving_up_is_not_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let mut file = JournalFile::create(directory.path(), ThreadId(1), &how()).unwrap();
    write(&mut file, &answers()[0]);
    file.give_up().unwrap();
    write(&mut file, &answers()[1]);
    let survey = survey(&directory.path().join(file_name(ThreadId(1)))).unwrap();
    assert_eq!((survey.answers, survey.beyond), (1, true));
}

#[test]
fn damaged_files_are_an_error_and_never_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let mut file = JournalFile::create(directory.path(), ThreadId(1), &how()).unwrap();
    for answer in answers() {
        write(&mut file, &answer);
    }
    let used = file.bytes();
    let path = directory.path().join(file_name(ThreadId(1)));
    let good = std::fs::read(&path).unwrap();
    for at in (0..used).step_by(7) {
        for flip in [0x01_u8, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            std::fs::write(&path, &bad).unwrap();
            let _ = survey(&path);
        }
        std::fs::write(&path, &good[..at]).unwrap();
        let _ = survey(&path);
    }
    std::fs::write(&path, b"not a journal").unwrap();
    let message = survey(&path).unwrap_err().to_string();
    assert!(message.contains("does not begin as a journal"), "{message}");
}
