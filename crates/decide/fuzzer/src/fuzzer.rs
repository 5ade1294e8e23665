//! What is sent next, and what is learned from its answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::bandit::{Arm, choose};
use crate::change::{Source, Way, edit, ways};
use crate::edit::Edit;
use crate::hints::Hints;
use crate::random::Random;
use crate::request::Request;
use crate::sites::{Site, shapes, sites};

/// Examples of one endpoint that are changed.
const OF_ENDPOINT_MAX: usize = 4;
/// Kinds of answers of one endpoint that are told apart: one that repeats what it was sent has no end of them.
const KINDS_MAX: usize = 60;
/// Changes of one example that led to something new, to begin others with.
const KEPT_MAX: usize = 12;
/// Changes of one request.
const EDITS_MAX: usize = 3;
/// Texts that stood in examples.
const KNOWN_MAX: usize = 400;
/// Once a place has broken its server so often it is not changed any more.
const BREAKS_MAX: u32 = 2;
/// Letters of an answer that tell its kind.
const KIND_CHARS: usize = 60;
/// An answer is slow when it takes so many times the longest that was usual, and at least so long, microseconds.
const SLOW_TIMES: u64 = 8;
const SLOW_US_MIN: u64 = 250_000;

/// A request to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Its number.
    pub number: u64,
    /// Number of the example that it is made of.
    pub example: usize,
    /// What is changed of it.
    pub edits: Vec<Edit>,
}

/// How a request was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status; 0: there was none.
    pub status: u16,
    /// The beginning of what was said, or why there was no answer.
    pub said: String,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// The server ended with it, or did not answer in time.
    pub broke: bool,
    /// What the server wrote about it, as far as that is known.
    pub logged: Vec<String>,
}

#[derive(Debug)]
struct Example {
    endpoint: String,
    request: Request,
    arm: Arm,
    places: Vec<Place>,
    /// Changes that led to something new.
    kept: Vec<Vec<Edit>>,
}

#[derive(Debug)]
struct Place {
    site: Site,
    arm: Arm,
    breaks: u32,
    ways: Vec<(Way, Arm)>,
}

impl Place {
    fn is_open(&self) -> bool {
        self.breaks < BREAKS_MAX && !self.ways.is_empty()
    }
}

/// Which place of which example is changed in which way.
type Spot = (usize, usize, usize);

/// How an endpoint answers.
#[derive(Debug, Default)]
struct Seen {
    statuses: BTreeSet<u16>,
    kinds: BTreeSet<String>,
    /// The longest answer to what was not changed, microseconds.
    usual_us: u64,
    slow: bool,
}

/// Changes examples.
#[derive(Debug)]
pub struct Fuzzer {
    random: Random,
    hints: Hints,
    examples: Vec<Example>,
    known: BTreeSet<String>,
    seen: BTreeMap<String, Seen>,
    /// All that can be tried, in an order of its own; the last one is next.
    untried: Vec<Spot>,
    /// All of it was tried once: from now on every other trial is of what was new before.
    tried_all: bool,
    under_way: BTreeMap<u64, (Spot, Vec<Edit>)>,
    next: u64,
}

impl Fuzzer {
    /// One without examples.
    #[must_use]
    pub fn new(seed: u64, hints: Hints) -> Self {
        Self {
            random: Random::new(seed),
            hints,
            examples: Vec::new(),
            known: BTreeSet::new(),
            seen: BTreeMap::new(),
            untried: Vec::new(),
            tried_all: false,
            under_way: BTreeMap::new(),
            next: 0,
        }
    }

    /// Adds an example of an endpoint with how it is usually answered; gives its number. None when there are enough of it,
    /// or when there is nothing to change.
    pub fn add(&mut self, endpoint: &str, request: &Request, usual: &Answer) -> Option<usize> {
        if !self.wants(endpoint, request) {
            return None;
        }
        let found = sites(request);
        let number = self.examples.len();
        let places = found.into_iter().map(|site| Place {
            ways: ways(request, &site)
                .into_iter()
                .map(|way| (way, Arm::default()))
                .collect(),
            site,
            arm: Arm::default(),
            breaks: 0,
        });
        self.examples.push(Example {
            endpoint: endpoint.to_owned(),
            request: request.clone(),
            arm: Arm::default(),
            places: places.collect(),
            kept: Vec::new(),
        });
        self.learn_texts(request);
        let seen = self.seen.entry(endpoint.to_owned()).or_default();
        seen.is_new(usual);
        seen.usual_us = seen.usual_us.max(usual.took_us);
        self.put_in_order(number);
        Some(number)
    }

    /// Whether it could be added: there are not enough of its endpoint, and it has a value of a shape that no other has there.
    #[must_use]
    pub fn wants(&self, endpoint: &str, request: &Request) -> bool {
        let of = self.examples.iter().filter(|one| one.endpoint == endpoint);
        let known: BTreeSet<(Site, String)> =
            of.clone().flat_map(|one| shapes(&one.request)).collect();
        let is_new = shapes(request).iter().any(|shape| !known.contains(shape));
        is_new && of.count() < OF_ENDPOINT_MAX
    }

    /// All that can be done to an example, among what is to be tried.
    fn put_in_order(&mut self, number: usize) {
        for (place, of) in self.examples[number].places.iter().enumerate() {
            for (way, (kind, _)) in of.ways.iter().enumerate() {
                let spot = (number, place, way);
                self.untried
                    .extend(std::iter::repeat_n(spot, kind.variety()));
            }
        }
        let mut order = std::mem::take(&mut self.untried);
        self.random.shuffle(&mut order);
        self.untried = order;
    }

    /// How many requests are changed.
    #[must_use]
    pub fn examples(&self) -> usize {
        self.examples.len()
    }

    /// Endpoints that are tried.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.seen.len()
    }

    /// What is sent next; none when there is nothing left that may be changed.
    pub fn draw(&mut self) -> Option<Trial> {
        for _ in 0..64 {
            let in_turn = !self.tried_all || self.random.once_in(2);
            let spot = match in_turn {
                true => self.spot_in_turn()?,
                false => self.spot_that_tells()?,
            };
            let (example, place, way) = spot;
            let mut edits = match in_turn {
                true => Vec::new(),
                false => self.beginning(example),
            };
            let mut base = self.examples[example].request.clone();
            for edit in &edits {
                edit.apply(&mut base);
            }
            let of = &self.examples[example].places[place];
            let (site, (kind, _)) = (of.site.clone(), of.ways[way]);
            let known = self.texts_for(&site);
            let mut from = Source {
                random: &mut self.random,
                known: &known,
            };
            let Some(edit) = edit(&base, &site, kind, &mut from) else {
                continue;
            };
            let mut changed = base.clone();
            edit.apply(&mut changed);
            if changed == base {
                continue;
            }
            edits.push(edit);
            let number = self.next;
            self.next += 1;
            self.under_way.insert(number, (spot, edits.clone()));
            return Some(Trial {
                number,
                example,
                edits,
            });
        }
        None
    }

    /// The next of all; after the last it begins anew.
    fn spot_in_turn(&mut self) -> Option<Spot> {
        for _ in 0..2 {
            while let Some(spot) = self.untried.pop() {
                if self.examples[spot.0].places[spot.1].is_open() {
                    return Some(spot);
                }
            }
            self.tried_all = true;
            (0..self.examples.len()).for_each(|number| self.put_in_order(number));
        }
        None
    }

    fn spot_that_tells(&mut self) -> Option<Spot> {
        let any_open = |one: &&Example| one.places.iter().any(Place::is_open);
        let examples: Vec<usize> = (0..)
            .zip(&self.examples)
            .filter(|(_, one)| any_open(one))
            .map(|(number, _)| number)
            .collect();
        let arms = examples.iter().map(|number| self.examples[*number].arm);
        let example = examples[choose(arms, &mut self.random)?];
        let of = &self.examples[example];
        let places: Vec<usize> = (0..)
            .zip(&of.places)
            .filter(|(_, place)| place.is_open())
            .map(|(number, _)| number)
            .collect();
        let arms = places.iter().map(|number| of.places[*number].arm);
        let place = places[choose(arms, &mut self.random)?];
        let arms = of.places[place].ways.iter().map(|(_, arm)| *arm);
        let way = choose(arms, &mut self.random)?;
        Some((example, place, way))
    }

    /// Changes that a further one is put upon: mostly none.
    fn beginning(&mut self, example: usize) -> Vec<Edit> {
        let kept = &self.examples[example].kept;
        match kept.is_empty() || !self.random.once_in(3) {
            true => Vec::new(),
            false => self.random.pick(kept).clone(),
        }
    }

    /// What came of a trial; true when it was something new.
    pub fn learn(&mut self, number: u64, answer: &Answer) -> bool {
        let Some((spot, edits)) = self.under_way.remove(&number) else {
            return false;
        };
        let (example, place, way) = spot;
        let endpoint = self.examples[example].endpoint.clone();
        let is_new = self.seen.entry(endpoint).or_default().is_new(answer);
        let of = &mut self.examples[example];
        of.arm.count(is_new);
        of.places[place].arm.count(is_new);
        of.places[place].ways[way].1.count(is_new);
        if answer.broke {
            of.places[place].breaks += 1;
        } else if is_new && edits.len() < EDITS_MAX && of.kept.len() < KEPT_MAX {
            of.kept.push(edits);
        }
        is_new
    }

    /// A trial that says nothing: its request was not sent.
    pub fn forget(&mut self, number: u64) {
        self.under_way.remove(&number);
    }

    fn texts_for(&self, site: &Site) -> Vec<String> {
        let name = match site {
            Site::Json(pointer) => pointer.rsplit('/').next().unwrap_or_default(),
            Site::Query(_, name) | Site::Form(_, name) | Site::Part(_, name) => name,
            Site::Header(name) => name,
            Site::Segment(_) | Site::Body => "",
        };
        match self.hints.of(name) {
            [] => self.known.iter().cloned().collect(),
            hints => hints.to_vec(),
        }
    }

    fn learn_texts(&mut self, request: &Request) {
        let mut texts: Vec<String> = Vec::new();
        if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&request.body) {
            leaves(&json, &mut texts);
        }
        let query = crate::sites::query(&request.url).unwrap_or_default();
        let values = query.split('&').filter_map(|pair| pair.split_once('='));
        texts.extend(values.map(|(_, value)| value.to_owned()));
        for text in texts {
            if self.known.len() < KNOWN_MAX && text.len() < 200 {
                self.known.insert(text);
            }
        }
    }
}

impl Seen {
    fn is_new(&mut self, answer: &Answer) -> bool {
        let mut is_new = self.statuses.insert(answer.status);
        let said =
            std::iter::once(&answer.said).filter(|_| answer.status >= 400 || answer.status == 0);
        for said in said.chain(&answer.logged) {
            let kind = format!("{} {}", answer.status, kind(said));
            is_new |= self.kinds.len() < KINDS_MAX && self.kinds.insert(kind);
        }
        let slow = (SLOW_TIMES * self.usual_us).max(SLOW_US_MIN);
        if self.usual_us > 0 && answer.took_us > slow && !self.slow {
            self.slow = true;
            is_new = true;
        }
        is_new
    }
}

/// What is said without what varies: numbers, and what is quoted.
fn kind(said: &str) -> String {
    let mut kind = String::new();
    let mut quote = None;
    for letter in said.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), _) => {}
            (None, '`' | '\'') => quote = Some(letter),
            (None, letter) if letter.is_ascii_alphabetic() || letter == ' ' => kind.push(letter),
            (None, _) => {}
        }
        if kind.len() >= KIND_CHARS {
            break;
        }
    }
    kind
}

fn leaves(value: &serde_json::Value, texts: &mut Vec<String>) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => fields.values().for_each(|value| leaves(value, texts)),
        Value::Array(items) => items.iter().for_each(|value| leaves(value, texts)),
        Value::String(text) => texts.push(text.clone()),
        Value::Number(number) => texts.push(number.to_string()),
        Value::Null | Value::Bool(_) => {}
    }
}
