//! What came of a play: what the player tells, with what was seen of the instance meanwhile.

use std::time::Duration;

use cohort_agent::protocol as agent;
use cohort_host::InstanceReader;
use cohort_model::{Grown, InstanceId, InstanceSample, Played, Symptom, SymptomKind};

use super::Try;
use crate::service::symptoms;

/// What the instance of a play wrote and how it ended is waited for so long: nothing was odd ...
const CALM_WAIT: Duration = Duration::from_millis(40);
/// ... something was, and its log may yet tell more.
const ODD_WAIT: Duration = Duration::from_millis(450);
/// ... a connection broke off, and it is not known yet that its server ended: the kernel may be writing down what was left of it.
const END_WAIT: Duration = Duration::from_millis(1_500);
/// ... it is a build that may have more to say, and says it in its log when it likes.
const VARIANT_WAIT: Duration = Duration::from_millis(1_000);
/// ... and its stacks are read meanwhile.
const LOOK_WAIT: Duration = Duration::from_secs(12);

/// How long more evidence is waited for: for the end of a server that does not answer any more, and for what it wrote.
pub(super) fn patience(one: &Try, played: &agent::Played, looked_at: bool) -> Duration {
    let broke = |answers: &agent::PlayedAnswers| {
        let errors = answers.errors.iter();
        errors
            .into_iter()
            .any(|(error, _)| *error != agent::TransportError::Timeout)
    };
    let broke = played.answers.iter().any(broke);
    let failed = failed(played);
    match (
        broke && one.ends.is_empty(),
        failed && one.exceptions.is_empty(),
    ) {
        (true, _) if looked_at => LOOK_WAIT,
        (true, _) => END_WAIT,
        (false, _) if !one.variant.is_empty() => VARIANT_WAIT,
        (false, true) => ODD_WAIT,
        (false, false) => CALM_WAIT,
    }
}

/// Whether anything was answered by an error of the server.
pub(super) fn failed(played: &agent::Played) -> bool {
    let failed =
        |answers: &agent::PlayedAnswers| answers.statuses.iter().any(|(status, _)| *status >= 500);
    played.answers.iter().any(failed)
}

/// What an instance uses now.
pub(super) fn used(instance: InstanceId, meter: &mut InstanceReader) -> Option<InstanceSample> {
    let mut sample = InstanceSample::empty(instance);
    meter.read(&mut sample).then_some(sample)
}

/// How it grew from half of a play to its end.
fn grown(one: &Try, rounds: u32) -> Option<Grown> {
    let (half, end) = (one.used.0.as_ref()?, one.used.1.as_ref()?);
    let count = |now: u32, then: u32| i64::from(now) - i64::from(then);
    Some(Grown {
        rounds,
        memory: end.memory_anon as i64 - half.memory_anon as i64,
        descriptors: count(end.open_files, half.open_files),
        threads: count(end.tasks, half.tasks),
    })
}

/// What came of a play, with what was seen of its instance.
pub(super) fn told(played: &agent::Played, one: &Try) -> Played {
    let mut odd: Vec<(String, Symptom)> = Vec::new();
    odd.extend(one.ends.iter().map(|end| (String::new(), end.clone())));
    let exceptions = one
        .exceptions
        .iter()
        .filter(|exception| !exception.plain_line);
    odd.extend(exceptions.map(|exception| (String::new(), exception.symptom())));
    for (name, endpoint, _) in &played.failed_checks {
        odd.push((
            endpoint.clone(),
            symptoms::plain(SymptomKind::WrongAnswer, name, name),
        ));
    }
    for answers in &played.answers {
        for (status, _) in answers.statuses.iter().filter(|(status, _)| *status >= 500) {
            let class = status.to_string();
            let symptom = symptoms::plain(SymptomKind::ErrorAnswer, &class, &answers.said);
            odd.push((answers.endpoint.clone(), symptom));
        }
        for (error, _) in &answers.errors {
            let words = symptoms::broken(*error);
            let kind = match error {
                agent::TransportError::Timeout => SymptomKind::Hang,
                _ => SymptomKind::ErrorAnswer,
            };
            odd.push((answers.endpoint.clone(), symptoms::plain(kind, words, "")));
        }
    }
    let numbered = played
        .answers
        .iter()
        .filter_map(|answers| Some((answers.request?, answers)));
    let mut took = Vec::new();
    let mut slower = Vec::new();
    let mut sent = 0;
    for (number, answers) in numbered {
        let mut sorted = answers.took_us.clone();
        sent += sorted.len() as u64;
        let third = sorted.len() / 3;
        if third >= 3 {
            let median = |part: &[u64]| {
                let mut part = part.to_vec();
                part.sort_unstable();
                part[part.len() / 2] as f64
            };
            let first = median(&answers.took_us[..third]);
            let last = median(&answers.took_us[answers.took_us.len() - third..]);
            slower.push((number, last / first.max(1.0)));
        }
        sorted.sort_unstable();
        if let Some(longest) = sorted.last() {
            took.push((number, sorted[middle(sorted.len(), one.copies)], *longest));
        }
    }
    let strayed = played.strayed.clone().unwrap_or_default();
    let void = match (odd.is_empty(), played.cut) {
        (true, true) => "its time was over before it was".to_owned(),
        (true, false) => strayed,
        (false, _) => String::new(),
    };
    let first = played.first_sent.unwrap_or(played.ended);
    Played {
        first_sent: played.first_sent,
        took_us: played.ended.since(first),
        sent,
        odd,
        took,
        slower,
        grown: grown(one, played.rounds_late).filter(|_| played.rounds_late > 0),
        missing: Vec::new(),
        void,
    }
}

/// The place of the median of what took longest of the copies at once, among so many that are sorted.
fn middle(count: usize, copies: u32) -> usize {
    let copies = copies.max(1) as usize;
    (count * (2 * copies - 1) / (2 * copies)).min(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::middle;

    #[test]
    fn of_copies_the_slowest_counts() {
        assert_eq!([1, 2, 3].map(|count| middle(count, 1)), [0, 1, 1]);
        // Three times two at once, of which one waits for the other.
        assert_eq!(middle(6, 2), 4);
        assert_eq!(middle(8, 8), 7);
    }
}
