//! How a case ends, and what is said about it.

use cohort_model::{Arm, CaseVerdict, Condition, Noise, Recipe};

use super::evidence::{Tally, interval};
use super::recipes::drawn;
use super::step::{Cover, Rivals, Step, Trial};
use super::{Experiment, Origin, runs_for};

impl Experiment {
    /// What can be left out is known: this recipe is what remains.
    pub(super) fn finish(&mut self, plan: Recipe, tally: Tally, minimal: bool) -> Step {
        let seen = self.book.of(&plan);
        let tally = if seen.runs > tally.runs { seen } else { tally };
        self.keep_smallest(&plan, tally);
        self.found.minimal = minimal && tally.failed > 0;
        if self.limits.coverage == 0 || tally.failed == 0 {
            return self.closing();
        }
        let covered = |plan: &Recipe| {
            Trial::new(Recipe {
                coverage: true,
                ..plan.clone()
            })
        };
        let mut trials = vec![covered(&plan)];
        trials.extend(self.found.passing.as_ref().map(covered));
        if trials.len() < 2 && tally.failed < tally.runs {
            trials.push(covered(&plan));
        }
        Step::Cover(Cover {
            trials,
            wanted: self.limits.coverage,
        })
    }

    /// Nothing that matters was found.
    pub(super) fn finish_unexplained(&mut self) -> Step {
        if !self.found.causes.is_empty() {
            return self.closing();
        }
        let plain = self.book.of(&self.plain);
        if plain.failed >= 2 && self.parts_tried.is_none() {
            return self.fewer_parts(self.plain.clone(), plain);
        }
        match self.book.best().cloned() {
            Some(plan) => {
                let tally = self.book.of(&plan);
                self.finish(plan, tally, false)
            }
            None => self.closing(),
        }
    }

    pub(super) fn keep_smallest(&mut self, plan: &Recipe, tally: Tally) {
        if tally.failed == 0 {
            return;
        }
        let recipe = match self.book.run_of(plan) {
            Some(run) => run.clone(),
            None => drawn(plan, &mut self.chance),
        };
        self.found.smallest = Some(Arm {
            control: recipe == self.plain,
            recipe,
            rate: tally.rate(),
        });
    }

    /// Ends the case with what is known.
    pub(super) fn close(&mut self) {
        let step = self.closing();
        self.enter(step);
    }

    /// The campaign ends, or nothing is left for this case.
    pub(crate) fn give_up(&mut self, why: &str) {
        if !matches!(self.step, Step::Closed) {
            self.found.remarks.push(why.to_owned());
            self.close();
        }
    }

    pub(super) fn closing(&mut self) -> Step {
        if self.found.smallest.is_none()
            && let Some(plan) = self.book.best().cloned()
        {
            let tally = self.book.of(&plan);
            self.keep_smallest(&plan, tally);
        }
        if self.found.verdict.is_none() {
            let verdict = self.verdict();
            self.say(verdict);
            self.found.verdict = Some(verdict);
        }
        Step::Closed
    }

    fn verdict(&self) -> CaseVerdict {
        let plain = self.book.of(&self.plain);
        if !self.found.causes.is_empty() {
            CaseVerdict::Conditional
        } else if self.found.always && plain.failed == plain.runs {
            CaseVerdict::Always
        } else if self.all.failed > 0 {
            CaseVerdict::Sometimes
        } else if self.all.runs == 0 {
            CaseVerdict::NotTried
        } else if matches!(self.origin, Origin::Hunted(_)) {
            CaseVerdict::Unsuspicious
        } else {
            CaseVerdict::NotReproduced
        }
    }

    fn say(&mut self, verdict: CaseVerdict) {
        let plain = self.book.of(&self.plain);
        let (_, high) = interval(plain, 0.05);
        let line = match verdict {
            CaseVerdict::NotReproduced => format!(
                "It did not fail again in {} runs; {} of them were as the original was, so its rate there is below {} (95 %).",
                self.all.runs,
                plain.runs,
                percent(high)
            ),
            CaseVerdict::Sometimes => format!(
                "No condition was found that matters, in {} runs under various ones; as the original was, it failed {} of {}.",
                self.all.runs, plain.failed, plain.runs
            ),
            CaseVerdict::Unsuspicious => self.say_unsuspicious(plain),
            CaseVerdict::NotTried if self.found.remarks.is_empty() => {
                "Nothing was left of the budget for it.".to_owned()
            }
            _ => return self.say_strange(),
        };
        self.found.remarks.push(line);
        self.say_strange();
    }

    fn say_strange(&mut self) {
        if self.strange > 0 {
            self.found.remarks.push(format!(
                "{} runs failed in another way, and count neither for nor against it.",
                self.strange
            ));
        }
    }

    fn say_unsuspicious(&self, plain: Tally) -> String {
        let Origin::Hunted(hunt) = &self.origin else {
            return String::new();
        };
        let reached = if plain.runs >= runs_for(*hunt) {
            hunt.p
        } else {
            1.0 - hunt.alpha.powf(1.0 / f64::from(plain.runs.max(1)))
        };
        let mut kinds: Vec<String> = Vec::new();
        for belief in &self.beliefs.all {
            if belief.seen.runs > 0 {
                kinds.push(format!(
                    "{} in {}",
                    words(&belief.condition),
                    belief.seen.runs
                ));
            }
        }
        let covered = if kinds.is_empty() {
            String::new()
        } else {
            format!(", with {}", kinds.join(", "))
        };
        format!(
            "It passed all {} plain runs: were its failure rate above {}, that would have a probability below {}. It passed {} more under other conditions{covered}.",
            plain.runs,
            percent(reached),
            percent(hunt.alpha),
            self.all.runs - plain.runs
        )
    }

    /// The smallest recipe of an earlier campaign was tried.
    pub(super) fn tried_again(&mut self, plan: &Recipe, tally: Tally) -> Step {
        let Origin::Known { verdict, .. } = self.origin else {
            // It was seen in ordinary work meanwhile.
            self.found.returned = true;
            if tally.failed == 0 {
                return Step::Control(Trial::new(self.plain.clone()));
            }
            self.keep_smallest(plan, tally);
            self.found.remarks.push(format!(
                "It is back: its smallest recipe failed {} of {} runs.",
                tally.failed, tally.runs
            ));
            return self.closing();
        };
        if tally.failed > 0 {
            self.found.returned = true;
            self.found.verdict = Some(verdict);
            self.keep_smallest(plan, tally);
            self.found.remarks.push(format!(
                "It is back: its smallest recipe failed {} of {} runs.",
                tally.failed, tally.runs
            ));
        } else {
            self.found.verdict = Some(CaseVerdict::NotReproduced);
            self.found.remarks.push(format!(
                "It was closed in an earlier campaign; its smallest recipe now passed {} of {} runs.",
                tally.runs, tally.runs
            ));
        }
        self.closing()
    }

    /// A case that this host cannot hold is closed before its first run.
    pub(super) fn refuse_the_impossible(&mut self) {
        let needs = self.usage.memory_peak;
        if needs > self.host.1 && self.host.1 > 0 {
            self.found.remarks.push(format!(
                "It needed {} MB, and {} MB are to be had here; give the campaign more memory.",
                needs >> 20,
                self.host.1 >> 20
            ));
            self.close();
        }
    }

    pub(super) fn say_other_seeds(&mut self, rivals: &Rivals) {
        if let Some((_, trial)) = rivals.others.first() {
            self.found.remarks.push(format!(
                "With other seeds it failed {} of {} runs.",
                trial.tally.failed, trial.tally.runs
            ));
        }
    }

    pub(super) fn say_alternative(&mut self, condition: &Condition, tally: Tally) {
        self.found.remarks.push(format!(
            "{} {} of {} runs.",
            alternative(condition),
            tally.failed,
            tally.runs
        ));
    }

    pub(super) fn unsay_alternative(&mut self, condition: &Condition) {
        let start = alternative(condition);
        self.found
            .remarks
            .retain(|remark| !remark.starts_with(&start));
    }
}

fn alternative(condition: &Condition) -> String {
    format!("It fails as well under {} alone:", words(condition))
}

fn percent(share: f64) -> String {
    if share < 0.01 {
        format!("{:.2} %", share * 100.0)
    } else {
        format!("{:.1} %", share * 100.0)
    }
}

/// A condition in words.
fn words(condition: &Condition) -> String {
    let ms = |us: &u64| *us as f64 / 1000.0;
    match condition {
        Condition::CpuLimit { cores } => format!("a limit of {cores} cores"),
        Condition::Cpus { count: 1 } => "a single CPU".to_owned(),
        Condition::Cpus { count } => format!("{count} CPUs"),
        Condition::MemoryLimit { bytes } => {
            format!("a memory limit of {:.0} MB", *bytes as f64 / 1e6)
        }
        Condition::DiskRate { bytes_s } => {
            format!("a disk of {:.1} MB/s", *bytes_s as f64 / 1e6)
        }
        Condition::DiskDelay { us } => format!("a disk that is {} ms late", ms(us)),
        Condition::NetworkDelay { us } => format!("a network that is {} ms late", ms(us)),
        Condition::NetworkRate { bits_s } => {
            format!("a network of {:.1} Mbit/s", *bits_s as f64 / 1e6)
        }
        Condition::NetworkLoss { share } => format!("a network that loses {}", percent(*share)),
        Condition::Noise { noise, tasks } => {
            let what = match noise {
                Noise::Cpu => "compute",
                Noise::Memory => "move memory",
                Noise::Disk => "write to the disk",
            };
            format!("{tasks} neighbours that {what}")
        }
        Condition::Copies { count } => format!("{count} copies at once"),
        Condition::Seed { .. } => "seeded randomness".to_owned(),
        Condition::DirectoryOrder { .. } => "another order of directories".to_owned(),
        Condition::Schedule { .. } => "disturbed scheduling".to_owned(),
        Condition::TimeZone { name } => format!("the time zone {name}"),
        Condition::Locale { name } => format!("the locale {name}"),
        Condition::Clock { unix_s } => format!("a clock that begins at {unix_s} s"),
        Condition::OpenFiles { count } => format!("at most {count} open files"),
        Condition::Variable { name, value: None } => format!("{name} not set"),
        Condition::Variable {
            name,
            value: Some(value),
        } => format!("{name}={value}"),
    }
}
