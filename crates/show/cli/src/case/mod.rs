//! `cohort show EC-3` and `cohort repro`: edge cases of this project, and those of a capsule.

mod by_hand;
mod capsule;
mod find;
mod paper;
mod repro;

use std::path::Path;

use cohort_model::CaseId;
use cohort_report::case::Dossier;

use crate::exit::Exit;
use crate::faces;
use crate::failure::Failure;
use crate::run::Place;
use crate::say;

pub(crate) use find::{Found, Suite};
pub(crate) use repro::{any_failed, repro};

/// How a case is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Terminal,
    Markdown,
    Json,
}

/// The case that a user may mean by `name`: `EC-3`, `ec3`. A number alone is a campaign's.
pub(crate) fn named(name: &str) -> Option<CaseId> {
    let start = name.get(..2)?;
    let digits = name.get(2..)?;
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    let is_case = start.eq_ignore_ascii_case("ec") && digits.bytes().all(|it| it.is_ascii_digit());
    digits.parse().ok().filter(|_| is_case).map(CaseId)
}

/// What a user means by an edge case.
pub(crate) enum Target {
    /// One of the project's.
    Known(Box<Found>),
    /// One from elsewhere, and what differs here.
    Foreign(Box<Found>, Vec<String>),
}

impl Target {
    /// The case of the project that is called so, or the capsule in that file.
    pub(crate) fn find(place: &Place, directory: &Path, what: &str) -> Result<Self, Failure> {
        if let Some(id) = named(what) {
            return Ok(Self::Known(Box::new(Found::read(&place.project, id)?)));
        }
        let path = directory.join(what);
        if !path.exists() {
            return Err(Failure::NoCase(what.to_owned()));
        }
        let (found, capsule) = capsule::read(&path)?;
        let differences = capsule::differences(&capsule.manifest, place);
        Ok(Self::Foreign(Box::new(found), differences))
    }
}

/// Whether a user who wants to see `what` means an edge case, and not a campaign.
pub(crate) fn is_meant(directory: &Path, what: &str) -> bool {
    let is_campaign = what.trim_start_matches('c').parse::<u64>().is_ok();
    named(what).is_some() || !is_campaign && directory.join(what).is_file()
}

/// Shows all that is known of a case.
pub(crate) fn show(directory: &Path, what: &str, form: Form, color: bool) -> Result<Exit, Failure> {
    let place = Place::of_campaigns(directory)?;
    let dossier = match Target::find(&place, directory, what)? {
        Target::Known(found) => paper::dossier(&place, &found),
        Target::Foreign(found, differences) => {
            let mut dossier = paper::dossier_from_elsewhere(&found);
            let differences = differences.into_iter();
            let told = differences.map(|it| format!("Not as where it was seen: {it}."));
            dossier.case.remarks.extend(told);
            dossier
        }
    };
    print(&dossier, form, color)?;
    Ok(Exit::Passed)
}

fn print(dossier: &Dossier, form: Form, color: bool) -> Result<(), Failure> {
    say::print(|out| match form {
        Form::Terminal => dossier.write(faces::columns(), color, out),
        Form::Markdown => out.write_all(dossier.markdown().as_bytes()),
        Form::Json => {
            let text = serde_json::to_string_pretty(&dossier.json())?;
            writeln!(out, "{text}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_told_from_a_campaign() {
        for name in ["EC-3", "ec-3", "EC3", "Ec3"] {
            assert_eq!(named(name), Some(CaseId(3)), "{name}");
        }
        for name in [
            "3",
            "c3",
            "EC-",
            "EC",
            "E",
            "",
            "EC-3.capsule",
            "ÉC-3",
            "EC-99999999999",
        ] {
            assert_eq!(named(name), None, "{name}");
        }
    }
}
