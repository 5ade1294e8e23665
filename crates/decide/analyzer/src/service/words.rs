//! Numbers and names as a person reads them.

use cohort_model::InstanceId;

/// `80 us`, `12 ms`, `1.3 s`.
pub(super) fn time(us: f64) -> String {
    if us >= 1e6 {
        format!("{:.1} s", us / 1e6)
    } else if us >= 10e3 {
        format!("{:.0} ms", us / 1e3)
    } else if us >= 95.0 {
        format!("{:.1} ms", us / 1e3)
    } else {
        format!("{us:.0} us")
    }
}

/// `64 KB`, `1.5 MB`.
pub(super) fn bytes(count: f64) -> String {
    if count >= 1024.0 * 1024.0 * 1024.0 {
        format!("{:.1} GB", count / 1_073_741_824.0)
    } else if count >= 1024.0 * 1024.0 {
        format!("{:.1} MB", count / 1_048_576.0)
    } else if count >= 1024.0 {
        format!("{:.0} KB", count / 1024.0)
    } else {
        counted(count, "byte")
    }
}

/// `1 call`, `7 calls`.
pub(super) fn counted(count: f64, what: &str) -> String {
    let s = if count.round() == 1.0 { "" } else { "s" };
    format!("{count:.0} {what}{s}")
}

/// `is` of one, `are` of more.
pub(super) fn are(count: f64) -> &'static str {
    if count.round() == 1.0 { "is" } else { "are" }
}

/// `i0`, `i0 and i2`, `4 instances`.
pub(super) fn instances(all: &[InstanceId]) -> String {
    match all {
        [one] => one.to_string(),
        [one, other] => format!("{one} and {other}"),
        _ => format!("{} instances", all.len()),
    }
}

/// `A`, `A and B`, `A, B and C`, `A, B, C and 2 more`.
pub(super) fn list(all: &[String]) -> String {
    const NAMED_MAX: usize = 3;
    match all {
        [] => String::new(),
        [one] => one.clone(),
        _ if all.len() > NAMED_MAX => {
            let more = all.len() - NAMED_MAX;
            format!("{} and {more} more", all[..NAMED_MAX].join(", "))
        }
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 9.95 {
        format!("{percent:.0} %")
    } else if percent >= 0.095 {
        format!("{percent:.1} %")
    } else if percent >= 0.005 {
        format!("{percent:.2} %")
    } else {
        "0 %".to_owned()
    }
}

/// Cut to a bounded length.
pub(super) fn cut(text: &str) -> String {
    const LENGTH_MAX: usize = 240;
    if text.chars().count() <= LENGTH_MAX {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LENGTH_MAX).collect();
    short.push('…');
    short
}

/// Without numbers, so that two tellings of the same bug are alike.
pub(super) fn without_digits(line: &str) -> String {
    let mut short: String = line
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .take(120)
        .collect();
    short.truncate(short.trim_end().len());
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_a_person_says_them() {
        assert_eq!(counted(1.0, "call"), "1 call");
        assert_eq!(counted(0.0, "call"), "0 calls");
        assert_eq!(counted(12.0, "call"), "12 calls");
        assert_eq!(
            [80.0, 800.0, 12e3, 1.3e6].map(time),
            ["80 us", "0.8 ms", "12 ms", "1.3 s"]
        );
        assert_eq!(
            [0.0, 0.0004, 0.05, 1.0].map(percent),
            ["0 %", "0.04 %", "5.0 %", "100 %"]
        );
        assert_eq!([1.0, 2048.0].map(bytes), ["1 byte", "2 KB"]);
    }

    #[test]
    fn a_list_ends_in_and() {
        let names = ["A", "B", "C", "D", "E"].map(str::to_owned);
        let lists = [1, 2, 3, 5].map(|n| list(&names[..n]));
        assert_eq!(lists, ["A", "A and B", "A, B and C", "A, B, C and 2 more"]);
    }
}
