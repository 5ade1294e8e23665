//! The command that shows a case without Cohort, where there is one: no condition that needs it, and a
//! suite whose runner takes names.

use cohort_model::{CasePart, Condition, Recipe, Subject, SuiteKind};

use super::Found;

/// The command line; none when its conditions cannot be typed.
pub(crate) fn by_hand(found: &Found) -> Option<String> {
    let suite = &found.suite;
    let recipe = &found.case.smallest.as_ref()?.recipe;
    let Subject::Test(test) = found.case.subject else {
        return None;
    };
    let before = recipe.parts.iter().map(|part| match part {
        CasePart::Before(test) => found.name(*test),
        _ => None,
    });
    let before: Vec<&str> = before.collect::<Option<_>>()?;
    let name = found.name(test)?;
    let mut words = variables(recipe)?;
    match suite.kind {
        SuiteKind::Pytest => {
            words.extend(runner(&suite.command)?);
            words.extend(before.iter().chain([&name]).map(|it| (*it).to_owned()));
        }
        SuiteKind::Cargo if before.is_empty() => words.extend(cargo(&suite.command, name)?),
        _ => return None,
    }
    Some(shell_words::join(words))
}

/// What is typed in front of a command; none when a condition is more than a variable.
fn variables(recipe: &Recipe) -> Option<Vec<String>> {
    let settings = recipe.conditions.iter().map(|condition| match condition {
        Condition::Variable { name, value } => Some(match value {
            Some(value) => format!("{name}={value}"),
            None => format!("--unset={name}"),
        }),
        Condition::TimeZone { name } => Some(format!("TZ={name}")),
        Condition::Locale { name } => Some(format!("LC_ALL={name}")),
        _ => None,
    });
    let settings: Vec<String> = settings.collect::<Option<_>>()?;
    if settings.is_empty() {
        return Some(settings);
    }
    // `env` takes what is unset first.
    let (unset, mut set): (Vec<_>, Vec<_>) = settings
        .into_iter()
        .partition(|it| it.starts_with("--unset="));
    let mut words = vec!["env".to_owned()];
    words.extend(unset);
    words.append(&mut set);
    Some(words)
}

/// The words of a command up to pytest itself: `uv run pytest`.
fn runner(command: &[String]) -> Option<Vec<String>> {
    let is_pytest = |word: &String| {
        let name = word.rsplit('/').next().unwrap_or_default();
        name == "pytest" || name == "py.test"
    };
    let end = command.iter().position(is_pytest)?;
    Some(command[..=end].to_vec())
}

/// `cargo test --exact` of one test, of which the plan has the program's label in front.
fn cargo(command: &[String], name: &str) -> Option<Vec<String>> {
    let (_, own) = name.split_once(' ')?;
    let is_plain = command.iter().all(|word| word != "--");
    let mut words = command.to_vec();
    words.extend(["--", "--exact", own].map(str::to_owned));
    is_plain.then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_ends_with_pytest() {
        let words = |text: &str| shell_words::split(text).unwrap();
        assert_eq!(
            runner(&words("uv run pytest -x tests")),
            Some(words("uv run pytest"))
        );
        assert_eq!(
            runner(&words("python -m pytest")),
            Some(words("python -m pytest"))
        );
        assert_eq!(runner(&words("make check")), None);
    }

    #[test]
    fn only_what_is_a_variable_can_be_typed() {
        let of = |conditions| {
            variables(&Recipe {
                conditions,
                ..Recipe::default()
            })
        };
        let variable = |name: &str, value: Option<&str>| Condition::Variable {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        };
        assert_eq!(of(vec![]), Some(Vec::new()));
        assert_eq!(of(vec![Condition::Copies { count: 2 }]), None);
        let zone = Condition::TimeZone {
            name: "Asia/Kolkata".to_owned(),
        };
        let words = of(vec![
            variable("A", Some("x y")),
            variable("HOME", None),
            zone,
        ])
        .unwrap();
        assert_eq!(words, ["env", "--unset=HOME", "A=x y", "TZ=Asia/Kolkata"]);
    }

    #[test]
    fn one_test_of_cargo() {
        let command = ["cargo", "test"].map(str::to_owned);
        let words = cargo(&command, "shop tests::totals").unwrap();
        assert_eq!(
            shell_words::join(words),
            "cargo test -- --exact tests::totals"
        );
        assert_eq!(cargo(&command, "whole"), None);
        let filtered = ["cargo", "test", "--", "x"].map(str::to_owned);
        assert_eq!(cargo(&filtered, "shop tests::totals"), None);
    }
}
