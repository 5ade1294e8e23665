//! Numbers and names as a person reads them.

use cohort_model::InstanceId;

/// `12 ms`, `1.3 s`.
pub(super) fn time(us: f64) -> String {
    if us >= 1e6 {
        format!("{:.1} s", us / 1e6)
    } else if us >= 10e3 {
        format!("{:.0} ms", us / 1e3)
    } else {
        format!("{:.1} ms", us / 1e3)
    }
}

/// `64 KB`, `1.5 MB`.
pub(super) fn bytes(count: f64) -> String {
    if count >= 1024.0 * 1024.0 * 1024.0 {
        format!("{:.1} GB", count / 1_073_741_824.0)
    } else if count >= 1024.0 * 1024.0 {
        format!("{:.1} MB", count / 1_048_576.0)
    } else {
        format!("{:.0} KB", count / 1024.0)
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

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 9.95 {
        format!("{percent:.0} %")
    } else if percent >= 0.095 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.2} %")
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
