//! The last lines of a terminal, drawn anew again and again.

use console::Term;

/// What is drawn at the bottom of a terminal. One that went away is no reason to stop testing.
pub(crate) struct Frame {
    term: Term,
    /// Lines at most, whatever the terminal has.
    lines_max: usize,
    drawn: usize,
}

impl Frame {
    pub(crate) fn new(term: Term, lines_max: usize) -> Self {
        Self {
            term,
            lines_max,
            drawn: 0,
        }
    }

    /// Columns and lines that there are for it.
    pub(crate) fn room(&self) -> (usize, usize) {
        let (height, width) = self.term.size();
        let height = usize::from(height).saturating_sub(1).min(self.lines_max);
        (usize::from(width), height)
    }

    /// Puts `lines` in the place of what was drawn; `above` stays above them.
    pub(crate) fn draw(&mut self, above: &[String], lines: &[String]) {
        self.clear();
        for line in above.iter().chain(lines) {
            let _ = self.term.write_line(line);
        }
        self.drawn = lines.len();
    }

    /// Takes it away.
    pub(crate) fn clear(&mut self) {
        let _ = self.term.clear_last_lines(self.drawn);
        self.drawn = 0;
    }
}
