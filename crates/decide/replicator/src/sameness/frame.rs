//! Places without what varies in them: directories, hashes of compilers, generics, numbers of closures.

use cohort_model::{Frame, Symptom};

/// Parts of a path that count, from its end.
const PATH_PARTS: usize = 2;
/// Directories and modules of tests.
const TEST_PARTS: [&str; 6] = ["test", "tests", "spec", "specs", "__tests__", "testing"];

/// A place, comparable over runs.
#[derive(Clone, Debug, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Function without generics, arguments, numbers of closures; may be empty.
    pub(crate) function: String,
    /// The end of the path; may be empty.
    pub(crate) file: String,
    /// 0: does not count.
    pub(crate) line: u32,
    /// It is code of the test itself, not what it tests.
    pub(crate) is_test: bool,
}

/// A place that is told without its function is the one at the same line with it.
impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        let functions = self.function == other.function
            || self.function.is_empty()
            || other.function.is_empty();
        let located = !self.file.is_empty() && !other.file.is_empty();
        if located {
            let lines_known = self.line > 0 && other.line > 0;
            same_file(&self.file, &other.file)
                && self.line == other.line
                && (functions || lines_known)
        } else {
            self.function == other.function && !self.function.is_empty()
        }
    }
}

impl Eq for Place {}

impl Place {
    /// Both are in the same function (or, where it is not told, at the same line).
    pub(crate) fn is_of(&self, other: &Place) -> bool {
        if self.function.is_empty() || other.function.is_empty() {
            return self == other;
        }
        let unknown = self.file.is_empty() || other.file.is_empty();
        let files = unknown || same_file(&self.file, &other.file);
        self.function == other.function && files
    }
}

/// One may be told from where the program runs, without its directory.
fn same_file(one: &str, other: &str) -> bool {
    let ends = |long: &str, short: &str| {
        let rest = long.strip_suffix(short);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    ends(one, other) || ends(other, one)
}

/// The places that count, innermost first: the code under test, or all where none is known to be.
/// What a recursion repeats is told once.
pub(crate) fn places(symptom: &Symptom, lines: bool) -> Vec<Place> {
    let has_own = symptom.frames.iter().any(|frame| frame.own);
    let counting = symptom.frames.iter().filter(|frame| frame.own || !has_own);
    let mut places = Vec::new();
    for frame in counting {
        let place = place(frame, lines);
        if !(place.function.is_empty() && place.file.is_empty()) {
            places.push(place);
        }
    }
    without_repetitions(places)
}

fn place(frame: &Frame, lines: bool) -> Place {
    Place {
        function: steady(&frame.function),
        file: tail(&frame.file),
        line: if lines { frame.line } else { 0 },
        is_test: is_test(frame),
    }
}

fn is_test(frame: &Frame) -> bool {
    let mut parts = frame.file.rsplit(['/', '\\']);
    let name = parts.next().unwrap_or_default();
    let stem = name.split('.').next().unwrap_or(name);
    let in_name = stem.starts_with("test_")
        || ["_test", "_tests", "_spec", "Test", "Tests", "Spec"]
            .iter()
            .any(|end| stem.ends_with(end))
        || matches!(stem, "conftest" | "test" | "tests")
        || name.contains(".test.")
        || name.contains(".spec.");
    let in_function = frame
        .function
        .split("::")
        .any(|part| TEST_PARTS.contains(&part))
        || frame
            .function
            .rsplit(['.', ':'])
            .next()
            .is_some_and(|name| name.starts_with("test_"));
    in_name || in_function || parts.any(|part| TEST_PARTS.contains(&part))
}

/// The last parts of a path; a directory whose name varies is any.
fn tail(path: &str) -> String {
    let mut parts: Vec<&str> = path
        .rsplit(['/', '\\'])
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .take(PATH_PARTS)
        .collect();
    parts.reverse();
    let names = parts
        .iter()
        .map(|part| if varies(part) { "#" } else { part });
    names.collect::<Vec<_>>().join("/")
}

/// A name that a program made up: `tmpa1b2c3`, `pytest-of-me`, `.tmpXyz12`, `build-4711`.
fn varies(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    let name = part.trim_start_matches(['.', '_']);
    let is_temporary = ["tmp", "pytest-", "cohort-"]
        .iter()
        .any(|start| name.starts_with(start));
    (is_temporary && !name.contains('.')) || (digits >= 3 && !part.contains('.'))
}

/// A name without what compilers add and number.
pub(crate) fn steady(name: &str) -> String {
    let name = name.split(" [clone").next().unwrap_or(name);
    let name = match name.rsplit_once("::h") {
        Some((start, hash))
            if hash.len() == 16 && hash.bytes().all(|it| it.is_ascii_hexdigit()) =>
        {
            start
        }
        _ => name,
    };
    let name = [
        "@@",
        "@plt",
        ".constprop",
        ".isra",
        ".part",
        ".cold",
        ".llvm.",
    ]
    .iter()
    .fold(name, |name, mark| name.split(mark).next().unwrap_or(name));
    let name = name.strip_prefix("__GI_").unwrap_or(name);
    numbers_out(&brackets_out(&implementation(name)))
}

/// `<a::B as c::D>::f` as `a::B::f`.
fn implementation(name: &str) -> String {
    if let Some(rest) = name.strip_prefix('<')
        && let Some((kind, behind)) = split_closing(rest)
        && !behind.is_empty()
    {
        let kind = kind.split(" as ").next().unwrap_or(kind);
        return format!("{}{behind}", kind.trim_start_matches(['&', '<']));
    }
    name.to_owned()
}

/// What stands before the bracket that closes the one already open, and what stands behind it.
fn split_closing(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1_u32;
    for (at, letter) in text.char_indices() {
        match letter {
            '<' => depth += 1,
            '>' if !text[..at].ends_with('-') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

/// Without generics and arguments; a name within braces or `(anonymous namespace)` stays.
fn brackets_out(name: &str) -> String {
    let name = name.replace("(anonymous namespace)", "{anonymous}");
    // `operator()`, `operator<`: part of the name.
    if let Some((before, operator)) = name.split_once("operator") {
        let end = operator
            .find('(')
            .filter(|at| *at > 0)
            .unwrap_or(operator.len().min(2));
        return format!("{}operator{}", angles_out(before), &operator[..end]);
    }
    let cut = angles_out(&name);
    let before = cut.split('(').next().unwrap_or(&cut).trim();
    // `void f`, `std::string f`: the return type of templates stands before.
    let before = before.strip_suffix(" const").unwrap_or(before);
    before.to_owned()
}

fn angles_out(name: &str) -> String {
    if name.starts_with('<') {
        // `<module>`, `<lambda>`, `<anonymous>`
        return name.to_owned();
    }
    let mut out = String::new();
    let mut depth = 0_u32;
    let mut before = ' ';
    for letter in name.chars() {
        match letter {
            '<' if before != '.' && before != '$' => depth += 1,
            '>' if depth > 0 && before != '-' => depth -= 1,
            _ if depth == 0 => out.push(letter),
            _ => {}
        }
        before = letter;
    }
    // `a::b::<T>::c`
    while let Some(at) = out.find("::::") {
        out.replace_range(at..at + 2, "");
    }
    out.trim_end_matches("::").to_owned()
}

/// Numbers of closures: `{closure#2}`, `{lambda()#1}`, `lambda$f$3`, `main.f.func2`.
fn numbers_out(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, digits) = rest.split_at(at);
        let end = digits
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(digits.len());
        out.push_str(before);
        let counts = !(before.ends_with(['#', '$'])
            || before.ends_with(".func")
            || before.ends_with("lambda_"));
        if counts {
            out.push_str(&digits[..end]);
        }
        rest = &digits[end..];
    }
    out.push_str(rest);
    out
}

/// Repetitions of up to this many places in a row are told once.
const PERIOD_MAX: usize = 8;

fn without_repetitions(places: Vec<Place>) -> Vec<Place> {
    let mut kept: Vec<Place> = Vec::new();
    for place in places {
        kept.push(place);
        for period in 1..=PERIOD_MAX.min(kept.len() / 2) {
            let (before, last) = kept.split_at(kept.len() - period);
            if before.ends_with(last) {
                kept.truncate(kept.len() - period);
                break;
            }
        }
    }
    kept
}
