//! Pages and their steps: requests one by one, what a page is made of in one batch, and pauses.

use super::entry::Page;
use super::select::{Chosen, Selected};

/// Gaps shorter than this are the browser's, not the person's, milliseconds.
const PAUSE_MIN: f64 = 500.0;
/// Longer pauses are cut to this, seconds.
const PAUSE_MAX: f64 = 60.0;

/// What belongs together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// The request at this place of the selected ones.
    Request(usize),
    /// Static ones, at once.
    Batch(Vec<usize>),
    /// Seconds.
    Pause(f64),
}

pub(super) fn plan(selected: &Selected, pages: &[Page]) -> Vec<Group> {
    let mut groups: Vec<(Option<&str>, Group)> = Vec::new();
    let mut busy_until: Option<f64> = None;
    for (at, chosen) in selected.entries.iter().enumerate() {
        let page = chosen.entry.page.as_deref();
        let pause = pause(chosen, busy_until);
        busy_until = f64_max(busy_until, chosen.entry.ended());
        let place = groups.iter().rposition(|(known, _)| *known == page);
        // A late request of an earlier page belongs to it still, as long as nobody paused.
        let place = place.filter(|place| *place + 1 == groups.len() || pause.is_none());
        if let (Some(pause), Some((_, last))) = (pause, groups.last_mut()) {
            last.steps.push(Step::Pause(pause));
        }
        let place = place.unwrap_or_else(|| {
            let name = name(page, pages, chosen, &groups);
            let steps = Vec::new();
            groups.push((page, Group { name, steps }));
            groups.len() - 1
        });
        add(&mut groups[place].1.steps, at, chosen.is_static);
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn add(steps: &mut Vec<Step>, at: usize, is_static: bool) {
    if !is_static {
        steps.push(Step::Request(at));
        return;
    }
    // One batch between two pauses, wherever scripts of the page asked for something meanwhile.
    let since_pause = steps.iter_mut().rev();
    let mut since_pause = since_pause.take_while(|step| !matches!(step, Step::Pause(_)));
    let batch = since_pause.find_map(|step| match step {
        Step::Batch(batch) => Some(batch),
        Step::Request(_) | Step::Pause(_) => None,
    });
    match batch {
        Some(batch) => batch.push(at),
        None => steps.push(Step::Batch(vec![at])),
    }
}

/// Seconds for which nothing was going on before it, to a tenth below two, to a half above.
fn pause(chosen: &Chosen, busy_until: Option<f64>) -> Option<f64> {
    let gap = chosen.entry.started? - busy_until?;
    if gap < PAUSE_MIN {
        return None;
    }
    let seconds = (gap / 1000.0).min(PAUSE_MAX);
    let parts = if seconds < 2.0 { 10.0 } else { 2.0 };
    Some((seconds * parts).round() / parts)
}

fn f64_max(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// The page's title, or the path when that is an address; each once.
fn name(
    page: Option<&str>,
    pages: &[Page],
    chosen: &Chosen,
    groups: &[(Option<&str>, Group)],
) -> String {
    let known = pages.iter().find(|known| Some(known.id.as_str()) == page);
    let title = known.map(|known| known.title.trim()).unwrap_or_default();
    let name = match url::Url::parse(title) {
        Ok(url) if url.has_host() => url.path().to_owned(),
        _ if title.is_empty() => chosen.entry.url.path().to_owned(),
        _ => title.chars().take(80).collect(),
    };
    // In k6 these two colons separate the names of groups.
    let name = name.replace("::", ":");
    let taken = |name: &str| groups.iter().any(|(_, group)| group.name == name);
    let numbered = (2_u32..).map(|number| format!("{name} ({number})"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    names.find(|name| !taken(name)).unwrap_or(name)
}
