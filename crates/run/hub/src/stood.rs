//! Where the threads of a try stood that crashed or took too long.
//!
//! `cohort under` writes their stacks beside the files of the try; programs of Python write theirs
//! on stderr. What tells why becomes the symptom's frames, and all of it is kept with the case.

use std::fs;
use std::io::Read;
use std::path::Path;

use cohort_host::init::ToInit;
use cohort_model::{
    Case, CaseId, Frame, KillReason, Subject, Symptom, SymptomKind, TestId, ThreadEnd, ThreadId,
};
use cohort_symptom::{read_backtrace, stacks};

use crate::threads::order_kill;

/// All stacks of a failing try: in its directory, and in that of its case.
pub(crate) const STACKS: &str = "stacks.txt";
/// Bytes that are read of them.
const BYTES_MAX: u64 = 512 << 10;
/// Failing tries whose stacks are remembered.
const KEPT_MAX: usize = 64;
/// Milliseconds that reading the stacks of a try that took too long may take.
const GRACE_MS: u32 = 12_000;

/// The stacks of one failing try.
#[derive(Clone, Debug)]
pub(crate) struct Stood {
    case: CaseId,
    test: TestId,
    kind: SymptomKind,
    frames: Vec<Frame>,
    text: String,
}

/// What is asked of an instance to end a try; with its stacks, there is time to read them.
pub(crate) fn order_end(thread: ThreadId, why: KillReason, with_stacks: bool) -> ToInit {
    match why {
        KillReason::Timeout | KillReason::Stalled if with_stacks => ToInit::Kill {
            thread: thread.0,
            grace_ms: GRACE_MS,
        },
        _ => order_kill(thread, why),
    }
}

/// Reads the stacks of a failing try, which are in `directory`, into its symptom; gives them to be kept.
/// None: it has none.
pub(crate) fn take(
    (case, test): (CaseId, TestId),
    (directory, root): (&Path, &Path),
    stderr: &str,
    end: &mut ThreadEnd,
) -> Option<Stood> {
    let symptom = end.symptom.as_mut()?;
    let native = read(&directory.join(STACKS));
    let python = stacks::excerpt(stderr);
    tell(symptom, &native, stderr);
    shorten(symptom, root);
    let texts = [native, python.unwrap_or_default()];
    let texts = texts.iter().filter(|text| !text.trim().is_empty());
    let text = texts.map(String::as_str).collect::<Vec<_>>().join("\n");
    (!text.is_empty()).then(|| Stood {
        case,
        test,
        kind: symptom.kind,
        frames: symptom.frames.clone(),
        text,
    })
}

/// Files below a directory are named as they are seen from there.
pub(crate) fn shorten(symptom: &mut Symptom, root: &Path) {
    for frame in &mut symptom.frames {
        if let Ok(inside) = Path::new(&frame.file).strip_prefix(root) {
            frame.file = inside.to_string_lossy().into_owned();
        }
    }
}

/// Stacks that `cohort under` wrote; empty where there are none.
pub(crate) fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // What can be read is what there is.
        let _ = file.take(BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What it wrote by itself counts, where it tells the code under test; but whichever thread wrote it,
/// for what took too long all threads count.
pub(crate) fn tell(symptom: &mut Symptom, native: &str, output: &str) {
    let own = |frames: &[Frame]| frames.iter().any(|frame| frame.own);
    let frames = match symptom.kind {
        SymptomKind::Timeout | SymptomKind::Hang => stacks::stood(native, output),
        SymptomKind::Signal | SymptomKind::Abort if !own(&symptom.frames) => {
            read_backtrace(native).map_or_else(Vec::new, |read| read.frames)
        }
        _ => return,
    };
    if own(&frames) {
        symptom.frames = frames;
    }
}

/// Keeps one more.
pub(crate) fn keep(all: &mut Vec<Stood>, one: Stood) {
    if all.len() < KEPT_MAX {
        all.push(one);
    }
}

/// The stacks of a case: of a try that looked as it does, whichever case it was for.
pub(crate) fn of(all: &[Stood], case: &Case) -> Option<String> {
    let symptom = case.symptom.as_ref()?;
    let stands = |kind| matches!(kind, SymptomKind::Timeout | SymptomKind::Hang);
    let about = |one: &&Stood| {
        let is_alike = one.kind == symptom.kind || (stands(one.kind) && stands(symptom.kind));
        Subject::Test(one.test) == case.subject && is_alike
    };
    let alike = all.iter().filter(about);
    let same = alike.clone().find(|one| one.frames == symptom.frames);
    let own = || alike.clone().find(|one| one.case == case.case);
    same.or_else(own).map(|one| one.text.clone())
}
