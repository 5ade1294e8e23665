//! A flame graph: one picture of all stacks, as SVG that needs nothing else.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Profile;

/// Width of the picture, and height of a frame, pixels.
const WIDTH: f64 = 1200.0;
const ROW: f64 = 17.0;
/// Space above for the title.
const TOP: f64 = 30.0;
/// Narrower frames are left out, pixels.
const NARROW: f64 = 0.4;
/// A letter's width, about, pixels.
const LETTER: f64 = 6.6;
/// Deepest stack drawn.
const DEPTH_MAX: usize = 256;

#[derive(Default)]
struct Node<'a> {
    count: u64,
    under: BTreeMap<&'a str, Node<'a>>,
}

impl Node<'_> {
    fn depth(&self) -> usize {
        self.under
            .values()
            .map(|it| 1 + it.depth())
            .max()
            .unwrap_or(0)
    }
}

/// The picture. Width is the share of samples, the outermost function is on top; frames show their whole name under the pointer.
#[must_use]
pub fn flames(profile: &Profile, title: &str) -> String {
    let mut root = Node::default();
    for (frames, count) in profile.stacks() {
        root.count += count;
        let mut node = &mut root;
        for frame in frames.iter().take(DEPTH_MAX) {
            node = node.under.entry(frame).or_default();
            node.count += count;
        }
    }
    let height = TOP + ROW * (root.depth() as f64 + 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"19\" font-size=\"14\">{}: {} samples</text>\n",
        escaped(title),
        root.count
    );
    if root.count > 0 {
        draw(
            &root,
            (0.0, TOP),
            WIDTH / root.count as f64,
            root.count,
            &mut svg,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(node: &Node<'_>, (x, y): (f64, f64), scale: f64, all: u64, svg: &mut String) {
    let mut x = x;
    for (name, under) in &node.under {
        let width = under.count as f64 * scale;
        if width >= NARROW {
            frame(name, (x, y, width), (under.count, all), svg);
            draw(under, (x, y + ROW), scale, all, svg);
        }
        x += width;
    }
}

fn frame(name: &str, (x, y, width): (f64, f64, f64), (count, all): (u64, u64), svg: &mut String) {
    let percent = 100.0 * count as f64 / all as f64;
    let letters = (width / LETTER) as usize;
    let shown: String = if letters < 3 {
        String::new()
    } else if name.chars().count() <= letters {
        name.to_owned()
    } else {
        name.chars().take(letters - 1).chain(['…']).collect()
    };
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<g><title>{} ({count} samples, {percent:.1} %)</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\" stroke=\"#fff\" stroke-width=\"0.5\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
        escaped(name),
        ROW - 1.0,
        color(name),
        x + 3.0,
        y + 12.0,
        escaped(&shown)
    );
}

/// The same for the same name.
fn color(name: &str) -> String {
    let sum = name.bytes().fold(7u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    format!("hsl({},80%,{}%)", sum % 50, 62 + sum / 50 % 14)
}

/// As text of XML may be.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            letter if letter.is_control() => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_is_what_was_seen_most() {
        let profile = Profile::of_folded("main;find<T> 30\nmain;load 10\n").expect("folded");
        let svg = flames(&profile, "shop & more");
        assert!(svg.contains(
            "<text x=\"8\" y=\"19\" font-size=\"14\">shop &amp; more: 40 samples</text>"
        ));
        assert!(svg.contains("<title>find&lt;T&gt; (30 samples, 75.0 %)</title><rect x=\"0.0\" y=\"47.0\" width=\"900.0\""));
        assert!(svg.contains(
            "<title>load (10 samples, 25.0 %)</title><rect x=\"900.0\" y=\"47.0\" width=\"300.0\""
        ));
        assert!(flames(&Profile::default(), "none").contains("0 samples"));
    }
}
