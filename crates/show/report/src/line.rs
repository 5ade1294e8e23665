//! One line of text in tones, which knows its width before it is coloured.

use crate::words;

/// What a piece of text is; shown as a colour where there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Odd,
    Name,
}

impl Tone {
    /// Select Graphic Rendition codes (ECMA-48 section 8.3.117).
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Odd => "33",
            Tone::Name => "36",
        }
    }
}

/// A line under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pieces: Vec<(Tone, String)>,
}

impl Line {
    pub(crate) fn new() -> Line {
        Line::default()
    }

    /// Appends text, which must be printable already.
    pub(crate) fn say(mut self, tone: Tone, text: impl Into<String>) -> Line {
        self.pieces.push((tone, text.into()));
        self
    }

    /// Appends plain text.
    pub(crate) fn plain(self, text: impl Into<String>) -> Line {
        self.say(Tone::Plain, text)
    }

    /// Columns it takes.
    pub(crate) fn width(&self) -> usize {
        self.pieces.iter().map(|(_, text)| words::width(text)).sum()
    }

    /// The line, cut at the end to `columns`.
    pub(crate) fn render(&self, columns: usize, color: bool) -> String {
        let mut left = columns;
        let mut out = String::new();
        let mut spare = self.width();
        for (tone, text) in &self.pieces {
            let wide = words::width(text);
            // A piece that fits exactly still has to leave room for the mark of what follows.
            let cut = spare > left && wide >= left;
            let text = if cut {
                words::cut(&format!("{text}…"), left)
            } else {
                text.clone()
            };
            if color && !tone.code().is_empty() && !text.is_empty() {
                out.push_str(&format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code()));
            } else {
                out.push_str(&text);
            }
            if cut {
                break;
            }
            left -= wide;
            spare -= wide;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_do_not_count() {
        let line = Line::new().say(Tone::Bad, "failed").plain(" a::b");
        assert_eq!(line.render(80, false), "failed a::b");
        assert_eq!(line.render(80, true), "\u{1b}[1;31mfailed\u{1b}[0m a::b");
        assert_eq!(line.render(11, false), "failed a::b");
        assert_eq!(line.render(10, false), "failed a:…");
        assert_eq!(line.render(6, false), "faile…");
        assert_eq!(line.render(0, false), "");
    }

    proptest! {
        #[test]
        fn never_wider_than_asked(
            pieces in proptest::collection::vec(any::<String>(), 0..6),
            columns in 0_usize..60,
        ) {
            let mut line = Line::new();
            for piece in pieces {
                line = line.say(Tone::Odd, words::printable(&piece));
            }
            prop_assert!(words::width(&line.render(columns, false)) <= columns);
            prop_assert_eq!(words::tame(&line.render(columns, true), false), line.render(columns, false));
        }
    }
}
