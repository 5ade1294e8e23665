//! A profile as pprof and what understands it read it: `profile.proto` of google/pprof, compressed by gzip.
//!
//! Written by hand: of the protocol's encoding (<https://protobuf.dev/programming-guides/encoding/>) it takes numbers and lengths only.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Profile;
use super::profile::{function, place};
use crate::{Manifest, Reads};

/// Bytes of a page, which growth is counted in.
const PAGE: u64 = 4096;

/// What a profile counts, and what one of it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// As pprof names it: `cpu`, `delay`, `inuse_space`.
    pub kind: &'static str,
    /// `nanoseconds`, `bytes` or `count`.
    pub unit: &'static str,
    /// So much of the unit is one that was counted.
    pub each: u64,
}

impl Weight {
    /// Of what a helper counts.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let (kind, unit, each) = match manifest.reads {
            Reads::Growth => ("inuse_space", "bytes", PAGE),
            Reads::Grown => ("inuse_space", "bytes", 1),
            Reads::Locks | Reads::Switches | Reads::Calls => ("delay", "nanoseconds", 1000),
            Reads::Waited => ("wall", "nanoseconds", manifest.every_us * 1000),
            Reads::Kept | Reads::Stays => ("kept", "count", 1),
            Reads::Dumps => ("threads", "count", 1),
            _ => ("cpu", "nanoseconds", manifest.every_us * 1000),
        };
        match each {
            // How much one is worth is not known.
            0 => Self {
                kind: "seen",
                unit: "count",
                each: 1,
            },
            _ => Self { kind, unit, each },
        }
    }
}

/// When a profile was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Its begin, nanoseconds since 1970.
    pub at_ns: u64,
    /// How long it looked, nanoseconds.
    pub lasted_ns: u64,
}

/// The file: each stack with how often it was seen, and what that is worth.
#[must_use]
pub fn pprof(profile: &Profile, weight: Weight, taken: Taken) -> Vec<u8> {
    let mut file = Message::default();
    let mut tables = Tables::default();
    // The first has to be empty.
    tables.text("");
    let mut kind = |kind: &str, unit: &str| {
        let mut message = Message::default();
        message
            .number(1, tables.text(kind))
            .number(2, tables.text(unit));
        message
    };
    let worth = kind(weight.kind, weight.unit);
    file.message(1, &kind("samples", "count"))
        .message(1, &worth);
    for (frames, count) in profile.stacks() {
        // Innermost first.
        let places: Vec<u64> = frames.iter().rev().map(|it| tables.location(it)).collect();
        let mut sample = Message::default();
        sample
            .numbers(1, &places)
            .numbers(2, &[count, count.saturating_mul(weight.each)]);
        file.message(2, &sample);
    }
    for (id, (function, line)) in (1..).zip(&tables.locations) {
        let mut inside = Message::default();
        inside.number(1, *function).number(2, *line);
        let mut location = Message::default();
        location.number(1, id).message(4, &inside);
        file.message(4, &location);
    }
    for (id, (name, path)) in (1..).zip(&tables.functions) {
        let mut function = Message::default();
        function
            .number(1, id)
            .number(2, *name)
            .number(3, *name)
            .number(4, *path);
        file.message(5, &function);
    }
    for text in &tables.texts {
        file.bytes(6, text.as_bytes());
    }
    file.number(9, taken.at_ns).number(10, taken.lasted_ns);
    file.message(11, &worth).number(12, weight.each);
    compressed(&file.0)
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    // Writing into memory does not fail.
    let _ = packer.write_all(bytes);
    packer.finish().unwrap_or_default()
}

/// What samples point to, each once.
#[derive(Default)]
struct Tables {
    texts: Vec<String>,
    text_of: BTreeMap<String, u64>,
    /// Name and file, both by their text.
    functions: Vec<(u64, u64)>,
    function_of: BTreeMap<(u64, u64), u64>,
    /// Function and line.
    locations: Vec<(u64, u64)>,
    location_of: BTreeMap<String, u64>,
}

impl Tables {
    /// Its place, from 0.
    fn text(&mut self, text: &str) -> u64 {
        if let Some(known) = self.text_of.get(text) {
            return *known;
        }
        let at = self.texts.len() as u64;
        self.texts.push(text.to_owned());
        self.text_of.insert(text.to_owned(), at);
        at
    }

    /// Its number, from 1. `frame` is `function (file:line)`, or less.
    fn location(&mut self, frame: &str) -> u64 {
        if let Some(known) = self.location_of.get(frame) {
            return *known;
        }
        let whole = place(frame).unwrap_or_default();
        let (path, line) = match whole.rsplit_once(':') {
            Some((path, line)) => (path, line.parse().unwrap_or(0)),
            None => (whole.as_str(), 0),
        };
        let named = (self.text(function(frame)), self.text(path));
        let functions = &mut self.functions;
        let function = *self.function_of.entry(named).or_insert_with(|| {
            functions.push(named);
            functions.len() as u64
        });
        self.locations.push((function, line));
        let id = self.locations.len() as u64;
        self.location_of.insert(frame.to_owned(), id);
        id
    }
}

/// A message of the protocol, as far as it is written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// Kinds of values on the wire.
    const NUMBER: u64 = 0;
    const LENGTH: u64 = 2;

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Nothing stands for 0.
    fn number(&mut self, field: u64, value: u64) -> &mut Self {
        if value != 0 {
            self.varint(field << 3 | Self::NUMBER);
            self.varint(value);
        }
        self
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) -> &mut Self {
        self.varint(field << 3 | Self::LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn numbers(&mut self, field: u64, values: &[u64]) -> &mut Self {
        let mut packed = Self::default();
        values.iter().for_each(|it| packed.varint(*it));
        self.bytes(field, &packed.0)
    }

    fn message(&mut self, field: u64, message: &Self) -> &mut Self {
        self.bytes(field, &message.0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use prost::Message as _;

    use super::*;

    /// As `profile.proto` of google/pprof has them.
    mod proto {
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Profile {
            #[prost(message, repeated, tag = "1")]
            pub(super) sample_type: Vec<ValueType>,
            #[prost(message, repeated, tag = "2")]
            pub(super) sample: Vec<Sample>,
            #[prost(message, repeated, tag = "4")]
            pub(super) location: Vec<Location>,
            #[prost(message, repeated, tag = "5")]
            pub(super) function: Vec<Function>,
            #[prost(string, repeated, tag = "6")]
            pub(super) string_table: Vec<String>,
            #[prost(int64, tag = "9")]
            pub(super) time_nanos: i64,
            #[prost(int64, tag = "10")]
            pub(super) duration_nanos: i64,
            #[prost(message, optional, tag = "11")]
            pub(super) period_type: Option<ValueType>,
            #[prost(int64, tag = "12")]
            pub(super) period: i64,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct ValueType {
            #[prost(int64, tag = "1")]
            pub(super) r#type: i64,
            #[prost(int64, tag = "2")]
            pub(super) unit: i64,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Sample {
            #[prost(uint64, repeated, tag = "1")]
            pub(super) location_id: Vec<u64>,
            #[prost(int64, repeated, tag = "2")]
            pub(super) value: Vec<i64>,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Location {
            #[prost(uint64, tag = "1")]
            pub(super) id: u64,
            #[prost(message, repeated, tag = "4")]
            pub(super) line: Vec<Line>,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Line {
            #[prost(uint64, tag = "1")]
            pub(super) function_id: u64,
            #[prost(int64, tag = "2")]
            pub(super) line: i64,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Function {
            #[prost(uint64, tag = "1")]
            pub(super) id: u64,
            #[prost(int64, tag = "2")]
            pub(super) name: i64,
            #[prost(int64, tag = "3")]
            pub(super) system_name: i64,
            #[prost(int64, tag = "4")]
            pub(super) filename: i64,
        }
    }

    fn read(file: &[u8]) -> proto::Profile {
        let mut bytes = Vec::new();
        let mut unpacked = flate2::read::GzDecoder::new(file);
        unpacked.read_to_end(&mut bytes).expect("gzip");
        proto::Profile::decode(bytes.as_slice()).expect("a profile")
    }

    /// Stacks as a reader sees them: function, file and line of each, innermost first, and the values.
    fn seen(it: &proto::Profile) -> Vec<(Vec<String>, Vec<i64>)> {
        let text = |at: i64| &it.string_table[usize::try_from(at).expect("no sign")];
        let frame = |id: &u64| {
            let location = it.location.iter().find(|location| location.id == *id);
            let line = &location.expect("it is there").line[0];
            let function = it.function.iter().find(|it| it.id == line.function_id);
            let function = function.expect("it is there");
            let (name, path) = (text(function.name), text(function.filename));
            format!("{name}@{path}:{}", line.line)
        };
        let samples = it.sample.iter();
        samples
            .map(|it| (it.location_id.iter().map(frame).collect(), it.value.clone()))
            .collect()
    }

    #[test]
    fn readers_of_pprof_see_functions_lines_and_nanoseconds() {
        let folded = "main;serve (src/a b.rs:7);find<T> (src/find.rs:300) 200\nmain;serve (src/a b.rs:7) 3\n";
        let profile = Profile::of_folded(folded).expect("folded");
        let weight = Weight {
            kind: "cpu",
            unit: "nanoseconds",
            each: 10_101_000,
        };
        let taken = Taken {
            at_ns: 1_800_000_000_000_000_000,
            lasted_ns: 10_000_000_000,
        };
        let read = read(&pprof(&profile, weight, taken));
        let text = |at: i64| read.string_table[usize::try_from(at).expect("no sign")].as_str();
        let types = read.sample_type.iter();
        let types: Vec<_> = types.map(|it| (text(it.r#type), text(it.unit))).collect();
        assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
        assert_eq!(read.string_table[0], "");
        assert_eq!(read.time_nanos, 1_800_000_000_000_000_000);
        assert_eq!(read.duration_nanos, 10_000_000_000);
        assert_eq!(read.period, 10_101_000);
        let stack = |frames: &[&str]| frames.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(
            seen(&read),
            [
                (
                    stack(&["serve@src/a b.rs:7", "main@:0"]),
                    vec![3, 30_303_000]
                ),
                (
                    stack(&["find<T>@src/find.rs:300", "serve@src/a b.rs:7", "main@:0"]),
                    vec![200, 2_020_200_000]
                ),
            ]
        );
        assert_eq!(read.function.len(), 3, "each once");
    }

    #[test]
    fn nothing_seen_is_a_profile_too() {
        let weight = Weight {
            kind: "seen",
            unit: "count",
            each: 1,
        };
        let read = read(&pprof(&Profile::default(), weight, Taken::default()));
        assert_eq!((read.sample.len(), read.sample_type.len()), (0, 2));
    }
}
