//! The faces of a campaign that people look at: live, plain, and none.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Instant;

use cohort_hub::Face;
use cohort_model::{At, Command, Record};
use cohort_report::plain::Plain;
use cohort_report::{View, case, progress, summary};
use cohort_store::Campaign;
use console::Term;

use crate::arguments::{Progress, When};
use crate::terminal::Frame;
use crate::{past, say};

/// Lines of a live frame at most, whatever the terminal has.
const FRAME_LINES_MAX: usize = 14;
/// Columns when the terminal does not say.
const COLUMNS: usize = 100;

/// The view that the faces share, which the summary is made of at the end.
pub(crate) type Shared = Rc<RefCell<View>>;

/// Whether colours are used.
pub(crate) fn color(when: When) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => console::colors_enabled(),
    }
}

/// Columns of the terminal.
pub(crate) fn columns() -> usize {
    let size = Term::stderr().size_checked();
    size.map_or(COLUMNS, |(_, columns)| usize::from(columns).max(20))
}

/// Whether the terminal says that it is more than a printer.
fn has_cursor() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Whether a terminal can show what changes, and there is someone to look at it.
pub(crate) fn is_live(term: &Term) -> bool {
    term.is_term() && has_cursor() && std::env::var_os("CI").is_none()
}

/// The face that people look at. `shown`: where the output of every test is, when that is to be shown.
pub(crate) fn screen(
    view: &Shared,
    kind: Progress,
    color: bool,
    shown: Option<Campaign>,
) -> Box<dyn Face> {
    let term = Term::stderr();
    let live = match kind {
        Progress::Live => true,
        Progress::Auto => is_live(&term),
        Progress::Plain | Progress::None => false,
    };
    let resumed_at = view.borrow().at();
    let view = Rc::clone(view);
    match (live, kind) {
        (true, _) => Box::new(Live {
            view,
            frame: Frame::new(term, FRAME_LINES_MAX),
            color,
            resumed_at,
            started: Instant::now(),
            shown,
        }),
        (false, Progress::None) => Box::new(Silent { view, color, shown }),
        (false, _) => Box::new(Lines {
            view,
            plain: Plain::new(color),
            color,
            shown,
        }),
    }
}

/// Prints the output of the tests that `record` concludes, on standard output, as their own runner
/// would; a test at a time, since they run side by side.
fn show_output(view: &View, record: &Record, shown: Option<&Campaign>, color: bool) {
    let (Record::Decided { decisions, .. }, Some(campaign)) = (record, shown) else {
        return;
    };
    let mut out = std::io::stdout().lock();
    for decision in decisions {
        let Command::Conclude(result) = &decision.command else {
            continue;
        };
        let thread = result.threads.last();
        let output = thread.and_then(|thread| past::output(campaign, *thread));
        if let Some(output) = output {
            // Who reads no more has seen enough.
            let _ = summary::output_of(view, result, &output, color, &mut out);
        }
    }
    let _ = out.flush();
}

struct Silent {
    view: Shared,
    color: bool,
    shown: Option<Campaign>,
}

impl Face for Silent {
    fn see(&mut self, record: &Record) {
        self.view.borrow_mut().apply(record);
        show_output(&self.view.borrow(), record, self.shown.as_ref(), self.color);
    }
}

struct Lines {
    view: Shared,
    plain: Plain,
    color: bool,
    shown: Option<Campaign>,
}

impl Face for Lines {
    fn see(&mut self, record: &Record) {
        self.view.borrow_mut().apply(record);
        for line in self.plain.after(&self.view.borrow(), record) {
            say::line(line);
        }
        show_output(&self.view.borrow(), record, self.shown.as_ref(), self.color);
    }
}

struct Live {
    view: Shared,
    frame: Frame,
    color: bool,
    /// The campaign's clock when this began.
    resumed_at: At,
    started: Instant,
    shown: Option<Campaign>,
}

impl Live {
    fn draw(&mut self, above: &[String]) {
        let (width, height) = self.frame.room();
        let view = self.view.borrow();
        let now = (self.resumed_at).plus_us(self.started.elapsed().as_micros() as u64);
        let lines = progress::frame(&view, view.at().max(now), width, height, self.color);
        self.frame.draw(above, &lines);
    }
}

impl Face for Live {
    fn see(&mut self, record: &Record) {
        self.view.borrow_mut().apply(record);
        let mut above = Vec::new();
        if let Record::Decided { decisions, .. } = record {
            let (width, _) = self.frame.room();
            let view = self.view.borrow();
            for decision in decisions {
                if let Command::Conclude(result) = &decision.command {
                    above.extend(progress::conclusion(&view, result, width, self.color));
                }
            }
            above.extend(case::closings(&view, record, width, self.color));
        }
        if self.shown.is_some() {
            self.frame.clear();
            show_output(&self.view.borrow(), record, self.shown.as_ref(), self.color);
        }
        if !above.is_empty() {
            self.draw(&above);
        }
        if matches!(record, Record::Ended(_)) {
            self.frame.clear();
        }
    }

    fn tick(&mut self) {
        self.draw(&[]);
    }
}
