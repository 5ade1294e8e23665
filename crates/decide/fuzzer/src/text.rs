//! Ways in which a text is changed.

use crate::random::Random;

/// Letters of two, three and four bytes, one that is made of two, and ones that change their length with their case.
const WIDE: [&str; 8] = ["é", "ß", "€", "漢", "𝄞", "👍", "e\u{301}", "İ"];
/// Where buffers and limits tend to end, characters.
const LENGTHS: [usize; 8] = [64, 127, 128, 255, 256, 1024, 4096, 65_536];
/// Numbers at the ends of types, and what looks like a number.
pub(crate) const NUMBERS: [&str; 22] = [
    "0",
    "-1",
    "1",
    "-0",
    "127",
    "128",
    "255",
    "256",
    "32768",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "0.1",
    "1e308",
    "123456789012345678901234567890",
];
/// What means something to what a text is handed on to: formats, templates, shells, paths, queries, protocols.
const SPECIAL: [&str; 26] = [
    "\0",
    "\r\n",
    "'",
    "\"",
    "\\",
    "%",
    "%00",
    "%s%n%x",
    "%zz",
    "../../../../etc/passwd",
    "..\\..\\",
    "/",
    "//",
    ";",
    "|",
    "`id`",
    "${7*7}",
    "{{7*7}}",
    "<b>",
    "' OR '1'='1",
    "*",
    "(((((",
    "[",
    "NaN",
    "\u{feff}",
    "\u{202e}",
];

/// A way to change a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TextWay {
    /// Letters of more than one byte.
    Wide,
    Empty,
    Long,
    /// A part of it several times.
    Repeat,
    Special,
    /// Only its beginning or its end.
    Cut,
    /// A number in it, or all of it, becomes an extreme one.
    Number,
    /// What stood elsewhere, or is known to mean something here.
    Known,
    /// One character becomes another.
    Letter,
}

impl TextWay {
    pub(crate) const ALL: [TextWay; 9] = [
        TextWay::Wide,
        TextWay::Empty,
        TextWay::Long,
        TextWay::Repeat,
        TextWay::Special,
        TextWay::Cut,
        TextWay::Number,
        TextWay::Known,
        TextWay::Letter,
    ];

    /// How many tries of it are worth as much as one of another: how different its results are.
    pub(crate) fn variety(self) -> usize {
        match self {
            TextWay::Wide => 6,
            TextWay::Special | TextWay::Known | TextWay::Number => 4,
            TextWay::Empty => 1,
            TextWay::Long | TextWay::Repeat | TextWay::Cut | TextWay::Letter => 2,
        }
    }
}

/// The text, changed; `known` are texts that may stand in its place.
pub(crate) fn changed(text: &str, way: TextWay, known: &[String], random: &mut Random) -> String {
    match way {
        TextWay::Wide => wide(text, random),
        TextWay::Empty => String::new(),
        TextWay::Long => {
            let unit = match text.chars().next() {
                Some(first) if random.once_in(2) => first.to_string(),
                _ => (*random.pick(&["A", "0", " ", "é"])).to_owned(),
            };
            let length = *random.pick(&LENGTHS) + random.below(3);
            unit.repeat(length)
        }
        TextWay::Repeat => {
            let (from, to) = span(text, random);
            let part = &text[from..to];
            let times = *random.pick(&[2, 3, 8, 30, 300]);
            let times = times.min(20_000 / part.len().max(1)).max(1);
            format!("{}{}{}", &text[..to], part.repeat(times), &text[to..])
        }
        TextWay::Special => {
            let special = *random.pick(&SPECIAL);
            let at = place(text, random);
            match random.below(3) {
                0 => special.to_owned(),
                1 => format!("{text}{special}"),
                _ => format!("{}{special}{}", &text[..at], &text[at..]),
            }
        }
        TextWay::Cut => {
            let at = place(text, random);
            let (begin, end) = text.split_at(at);
            (if random.once_in(2) { begin } else { end }).to_owned()
        }
        TextWay::Number => number(text, random),
        TextWay::Known => match known {
            [] => String::new(),
            known => random.pick(known).clone(),
        },
        TextWay::Letter => {
            let letters: Vec<char> = text.chars().collect();
            let at = random.below(letters.len());
            let mut new = letters;
            if let Some(letter) = new.get_mut(at) {
                *letter = char::from(*random.pick(b"0aZ_-.~ +&=#?\t"));
            }
            new.into_iter().collect()
        }
    }
}

/// Wide letters take the place of some, or stand between them.
fn wide(text: &str, random: &mut Random) -> String {
    let letters: Vec<char> = text.chars().collect();
    let wide = *random.pick(&WIDE);
    let at = random.below(letters.len());
    let every = random.once_in(6);
    let adds = random.once_in(3) || letters.is_empty();
    let mut new = String::new();
    for (place, letter) in letters.iter().enumerate() {
        match (place == at || (every && place >= at), adds) {
            (true, true) => {
                new.push_str(wide);
                new.push(*letter);
            }
            (true, false) => new.push_str(wide),
            (false, _) => new.push(*letter),
        }
    }
    if letters.is_empty() || (adds && random.once_in(4)) {
        new.push_str(wide);
    }
    new
}

fn number(text: &str, random: &mut Random) -> String {
    let number = *random.pick(&NUMBERS);
    let digit = |letter: char| letter.is_ascii_digit();
    let Some(from) = text.find(digit) else {
        return number.to_owned();
    };
    let rest = &text[from..];
    let to = rest.find(|letter| !digit(letter)).unwrap_or(rest.len());
    match random.once_in(3) {
        true => number.to_owned(),
        false => format!("{}{number}{}", &text[..from], &rest[to..]),
    }
}

/// A place between two letters of a text.
fn place(text: &str, random: &mut Random) -> usize {
    let mut places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    places.push(text.len());
    *random.pick(&places)
}

fn span(text: &str, random: &mut Random) -> (usize, usize) {
    let (one, other) = (place(text, random), place(text, random));
    match one == other {
        true => (0, text.len()),
        false => (one.min(other), one.max(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_can_be_changed_in_every_way(text in ".{0,20}", seed: u64) {
            let mut random = Random::new(seed);
            for way in TextWay::ALL {
                let new = changed(&text, way, &["known".to_owned()], &mut random);
                prop_assert!(new.len() <= 300_000);
            }
        }
    }

    #[test]
    fn wide_letters_are_cut_in_the_middle_at_any_byte() {
        let mut random = Random::new(1);
        for byte in 1..=6 {
            let cuts = (0..100)
                .filter(|_| !wide("SAVE10", &mut random).is_char_boundary(byte))
                .count();
            assert!(cuts >= 8, "byte {byte}: {cuts} of 100");
        }
    }
}
