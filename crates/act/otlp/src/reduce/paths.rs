//! Code paths: which operations lie beneath a request, and how much of its time is theirs.
//!
//! A span names its parent, which most often ends later and may arrive in a later batch. So spans
//! wait for [`WINDOWS_WAITED`] windows, and each is led up to its request as soon as the way is there.
//! Then it is only kept for what may still arrive from below it. A request is a span of kind Server or Consumer, or one without a parent.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::Span;

use crate::window::{Dropped, PathWindow, SpanKind};

/// Spans of one instance that are kept.
const SPANS_MAX: usize = 30_000;
/// A span waits for so many windows for the way to its request.
const WINDOWS_WAITED: u32 = 10;
/// Others are kept for so many.
const WINDOWS_KEPT: u32 = 3;
/// Spans between one and its request that are followed.
const DEPTH_MAX: usize = 32;
/// Operations that a path names: the outermost ones.
const NAMES_MAX: usize = 4;
/// Paths beneath one operation.
const PATHS_MAX: usize = 32;

/// Trace and span id. Both are random, so their first eight bytes are enough to tell them apart.
type Key = (u64, u64);

/// Spans that arrived lately.
#[derive(Debug, Default)]
pub(super) struct Recent {
    spans: HashMap<Key, Known>,
    /// Not yet led up to a request.
    waiting: Vec<Key>,
    window: u32,
}

#[derive(Debug)]
struct Known {
    parent: Option<Key>,
    name: Arc<str>,
    kind: SpanKind,
    duration_us: u64,
    window: u32,
    /// Its request is not known yet.
    waits: bool,
}

impl Known {
    fn is_request(&self) -> bool {
        self.parent.is_none() || matches!(self.kind, SpanKind::Server | SpanKind::Consumer)
    }
}

/// What lies beneath one operation.
#[derive(Debug, Default)]
pub(super) struct Paths {
    paths: BTreeMap<String, Path>,
    /// Time of the spans right below the request.
    below_us: u64,
}

#[derive(Debug)]
struct Path {
    kind: SpanKind,
    calls: u64,
    total_us: u64,
    below_us: u64,
}

/// The way up from a span.
enum Way {
    /// Names from the outermost below the request to the span itself.
    Found(Key, Vec<Arc<str>>),
    Incomplete,
}

impl Recent {
    /// False when there is no place.
    pub(super) fn add(
        &mut self,
        span: &Span,
        name: &Arc<str>,
        kind: SpanKind,
        duration_us: u64,
    ) -> bool {
        if self.spans.len() >= SPANS_MAX {
            return false;
        }
        let trace = id(&span.trace_id);
        let key = (trace, id(&span.span_id));
        let parent = (!span.parent_span_id.is_empty()).then(|| (trace, id(&span.parent_span_id)));
        let known = Known {
            parent,
            name: Arc::clone(name),
            kind,
            duration_us,
            window: self.window,
            waits: false,
        };
        let known = Known {
            waits: !known.is_request(),
            ..known
        };
        if known.waits {
            self.waiting.push(key);
        }
        self.spans.insert(key, known);
        true
    }

    /// The paths of all spans whose request is known by now, by the request's operation.
    pub(super) fn take(&mut self, dropped: &mut Dropped) -> BTreeMap<(Arc<str>, SpanKind), Paths> {
        let mut found: BTreeMap<(Arc<str>, SpanKind), Paths> = BTreeMap::new();
        self.window += 1;
        let now = self.window;
        let is_young = |span: &Known| {
            let kept = if span.waits {
                WINDOWS_WAITED
            } else {
                WINDOWS_KEPT
            };
            span.window + kept > now
        };
        let mut led = Vec::new();
        let waiting = std::mem::take(&mut self.waiting);
        for key in waiting {
            let Some(span) = self.spans.get(&key) else {
                continue;
            };
            match self.way(key) {
                Way::Found(request, names) => {
                    let request = &self.spans[&request];
                    let operation = (Arc::clone(&request.name), request.kind);
                    let paths = found.entry(operation).or_default();
                    if !paths.add(&names, span) {
                        dropped.paths += 1;
                    }
                    led.push(key);
                }
                Way::Incomplete if is_young(span) => self.waiting.push(key),
                Way::Incomplete => dropped.unattached += 1,
            }
        }
        for key in led {
            if let Some(span) = self.spans.get_mut(&key) {
                span.waits = false;
            }
        }
        self.spans.retain(|_, span| is_young(span));
        found
    }

    fn way(&self, key: Key) -> Way {
        let mut names = Vec::new();
        let mut at = key;
        for _ in 0..DEPTH_MAX {
            let Some(span) = self.spans.get(&at) else {
                return Way::Incomplete;
            };
            match span.parent {
                Some(parent) if !span.is_request() => {
                    names.push(Arc::clone(&span.name));
                    at = parent;
                }
                _ => {
                    names.reverse();
                    return Way::Found(at, names);
                }
            }
        }
        Way::Incomplete
    }
}

impl Paths {
    /// False when there are too many paths already.
    fn add(&mut self, names: &[Arc<str>], span: &Known) -> bool {
        let named = &names[..names.len().min(NAMES_MAX)];
        let path = named.join(" > ");
        if self.paths.len() >= PATHS_MAX && !self.paths.contains_key(&path) {
            return false;
        }
        // What is deeper than a path can name counts as part of its last name.
        if names.len() > NAMES_MAX {
            return true;
        }
        let duration_us = span.duration_us;
        let below_us = match named {
            [] | [_] => &mut self.below_us,
            [above @ .., _] => &mut self.path(&above.join(" > "), SpanKind::Internal).below_us,
        };
        *below_us = below_us.saturating_add(duration_us);
        let path = self.path(&path, span.kind);
        path.kind = span.kind;
        path.calls += 1;
        path.total_us = path.total_us.saturating_add(duration_us);
        true
    }

    fn path(&mut self, path: &str, kind: SpanKind) -> &mut Path {
        self.paths.entry(path.to_owned()).or_insert(Path {
            kind,
            calls: 0,
            total_us: 0,
            below_us: 0,
        })
    }

    /// Time right below the request, and the paths, most own time first.
    pub(super) fn finish(self) -> (u64, Vec<PathWindow>) {
        let ended = self.paths.into_iter().filter(|(_, path)| path.calls > 0);
        let mut paths: Vec<PathWindow> = ended
            .map(|(name, path)| PathWindow {
                path: name,
                kind: path.kind,
                calls: path.calls,
                total_us: path.total_us,
                own_us: path.total_us.saturating_sub(path.below_us),
            })
            .collect();
        paths.sort_by(|a, b| b.own_us.cmp(&a.own_us).then_with(|| a.path.cmp(&b.path)));
        (self.below_us, paths)
    }
}

fn id(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = bytes.len().min(8);
    first[..length].copy_from_slice(&bytes[..length]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree {
        recent: Recent,
        dropped: Dropped,
    }

    impl Tree {
        fn new() -> Self {
            Self {
                recent: Recent::default(),
                dropped: Dropped::default(),
            }
        }

        fn span(&mut self, own: u8, parent: u8, name: &str, kind: SpanKind, duration_us: u64) {
            let span = Span {
                trace_id: vec![1; 16],
                span_id: vec![own; 8],
                parent_span_id: if parent == 0 { vec![] } else { vec![parent; 8] },
                ..Span::default()
            };
            assert!(self.recent.add(&span, &name.into(), kind, duration_us));
        }

        fn take(&mut self) -> Vec<(String, Vec<PathWindow>)> {
            let all = self.recent.take(&mut self.dropped).into_iter();
            all.map(|((name, _), paths)| (name.to_string(), paths.finish().1))
                .collect()
        }
    }

    #[test]
    fn children_arrive_before_their_request_and_share_its_time() {
        let mut tree = Tree::new();
        tree.span(3, 2, "SELECT", SpanKind::Client, 60);
        tree.span(4, 2, "SELECT", SpanKind::Client, 20);
        assert_eq!(tree.take(), []);
        tree.span(2, 1, "load", SpanKind::Internal, 90);
        // The request itself has a parent elsewhere.
        tree.span(1, 9, "GET /", SpanKind::Server, 100);
        let all = tree.take();
        let [(name, paths)] = all.as_slice() else {
            panic!("{all:?}")
        };
        assert_eq!(name, "GET /");
        let of = |path: &PathWindow| (path.path.clone(), path.calls, path.total_us, path.own_us);
        let paths: Vec<_> = paths.iter().map(of).collect();
        assert_eq!(
            paths,
            [
                ("load > SELECT".to_owned(), 2, 80, 80),
                ("load".to_owned(), 1, 90, 10)
            ]
        );
        assert_eq!(tree.take(), []);
        assert!(!tree.dropped.any());
    }

    #[test]
    fn what_is_led_to_its_request_makes_room_soon() {
        let mut tree = Tree::new();
        tree.span(1, 0, "job", SpanKind::Internal, 100);
        tree.span(2, 1, "load", SpanKind::Internal, 90);
        tree.span(3, 7, "lost", SpanKind::Internal, 90);
        assert_eq!(tree.take().len(), 1);
        // A late one from below.
        tree.span(4, 2, "SELECT", SpanKind::Client, 60);
        assert_eq!(tree.take()[0].1[0].path, "load > SELECT");
        for _ in 0..WINDOWS_KEPT {
            assert_eq!(tree.take(), []);
        }
        assert_eq!((tree.recent.spans.len(), tree.recent.waiting.len()), (1, 1));
    }

    #[test]
    fn orphans_and_circles_are_given_up_and_counted() {
        let mut tree = Tree::new();
        tree.span(3, 8, "lost", SpanKind::Client, 60);
        tree.span(4, 5, "a", SpanKind::Internal, 60);
        tree.span(5, 4, "b", SpanKind::Internal, 60);
        for _ in 0..=WINDOWS_WAITED {
            assert_eq!(tree.take(), []);
        }
        assert_eq!(tree.dropped.unattached, 3);
        assert!(tree.recent.spans.is_empty() && tree.recent.waiting.is_empty());
    }
}
