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
    /// In the profile that it is compared with.
    there: u64,
    under: BTreeMap<&'a str, Node<'a>>,
}

impl<'a> Node<'a> {
    fn of(profile: &'a Profile, there: Option<&'a Profile>) -> Self {
        let mut root = Self::default();
        for (frames, count) in profile.stacks() {
            root.add(frames, |node| node.count += count);
        }
        for (frames, count) in there.into_iter().flat_map(Profile::stacks) {
            root.add(frames, |node| node.there += count);
        }
        root
    }

    fn add(&mut self, frames: &'a [String], count: impl Fn(&mut Self)) {
        count(self);
        let mut node = self;
        for frame in frames.iter().take(DEPTH_MAX) {
            node = node.under.entry(frame).or_default();
            count(node);
        }
    }

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
    let root = Node::of(profile, None);
    let said = format!("{title}: {} samples", root.count);
    let paint = |name: &str, _: &Node<'_>, percent: f64| (format!("{percent:.1} %"), color(name));
    picture(&root, &said, &paint)
}

/// The picture of one profile beside another: as [`flames`] of the first, red where its share is larger than in the other, blue
/// where it is smaller.
#[must_use]
pub fn difference(profile: &Profile, there: &Profile, title: &str) -> String {
    let root = Node::of(profile, Some(there));
    let said = format!("{title}: {} samples against {}", root.count, root.there);
    let of_there = root.there.max(1) as f64;
    let paint = |_: &str, node: &Node<'_>, percent: f64| {
        let there = 100.0 * node.there as f64 / of_there;
        let shown = format!("{percent:.1} %, there {there:.1} %");
        (shown, shade(percent - there))
    };
    picture(&root, &said, &paint)
}

/// What is said of a frame, and its color, by its name and its share, percent.
type Paint<'a> = &'a dyn Fn(&str, &Node<'_>, f64) -> (String, String);

fn picture(root: &Node<'_>, title: &str, paint: Paint<'_>) -> String {
    let height = TOP + ROW * (root.depth() as f64 + 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"19\" font-size=\"14\">{}</text>\n",
        escaped(title),
    );
    if root.count > 0 {
        draw(root, (0.0, TOP), root.count, paint, &mut svg);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(node: &Node<'_>, (x, y): (f64, f64), all: u64, paint: Paint<'_>, svg: &mut String) {
    let mut x = x;
    for (name, under) in &node.under {
        let width = under.count as f64 * WIDTH / all as f64;
        if width >= NARROW {
            let percent = 100.0 * under.count as f64 / all as f64;
            let (said, color) = paint(name, under, percent);
            let said = format!("{} samples, {said}", under.count);
            frame(name, (x, y, width), (&said, &color), svg);
            draw(under, (x, y + ROW), all, paint, svg);
        }
        x += width;
    }
}

fn frame(
    name: &str,
    (x, y, width): (f64, f64, f64),
    (said, color): (&str, &str),
    svg: &mut String,
) {
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
        "<g><title>{} ({said})</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{color}\" stroke=\"#fff\" stroke-width=\"0.5\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
        escaped(name),
        ROW - 1.0,
        x + 3.0,
        y + 12.0,
        escaped(&shown)
    );
}

/// From blue over white to red, for points of percent more than there.
fn shade(points: f64) -> String {
    let hue = if points > 0.0 { 0 } else { 215 };
    let light = 95.0 - 45.0 * (points.abs() / 50.0).min(1.0).sqrt();
    format!("hsl({hue},85%,{light:.0}%)")
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

    #[test]
    fn what_takes_more_than_there_is_red_and_what_takes_less_is_blue() {
        let here = Profile::of_folded("main;find 30\nmain;load 10\n").expect("folded");
        let there = Profile::of_folded("main;find 1\nmain;load 9\n").expect("folded");
        let svg = difference(&here, &there, "shop");
        assert!(svg.contains(">shop: 40 samples against 10<"), "{svg}");
        let color = |name: &str| {
            let frame = svg
                .lines()
                .find(|it| it.contains(&format!("<title>{name} ")));
            let frame = frame.expect("it is drawn");
            frame
                .split_once("fill=\"")
                .expect("a color")
                .1
                .split('"')
                .next()
                .expect("it ends")
        };
        assert!(
            svg.contains("<title>find (30 samples, 75.0 %, there 10.0 %)</title>"),
            "{svg}"
        );
        assert!(color("find").starts_with("hsl(0,"), "{svg}");
        assert!(color("load").starts_with("hsl(215,"), "{svg}");
        assert_eq!(color("main"), "hsl(215,85%,95%)", "{svg}");
        assert!(difference(&Profile::default(), &there, "idle").contains("0 samples against 10"));
    }
}
