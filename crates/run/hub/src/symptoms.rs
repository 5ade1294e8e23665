//! How a failing execution looked, from its output.

use cohort_model::ThreadEnd;
use cohort_symptom::Ended;

use crate::shell::Hub;
use crate::threads::Thread;

impl Hub {
    /// Reads how a failure looked; `report`: what the suite's runner said of it.
    pub(crate) fn read_symptom(
        &self,
        thread: &Thread,
        end: &mut ThreadEnd,
        (stdout, stderr): (&[u8], &[u8]),
        report: &str,
    ) {
        let verdict = thread
            .killed
            .map_or(end.verdict, |killed| killed.verdict(end.verdict));
        let ended = Ended {
            suite: self.suite,
            test: self.names.get(thread.test.index()).map_or("", |name| name),
            verdict,
            killed: thread.killed,
            exit_code: end.exit_code,
            signal: end.signal,
            stdout,
            stderr,
            report,
            message: end.message.as_deref().unwrap_or_default(),
        };
        end.symptom = cohort_symptom::read(&ended).map(Box::new);
    }
}
