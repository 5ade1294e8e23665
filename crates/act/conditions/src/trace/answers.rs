//! What a program is told in place of what the system would tell: random bytes that follow from a
//! seed, directories in another order, another time.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::random::{Random, joined_bytes};
use crate::trace::ptrace::{Call, read, read_words, write};
use crate::trace::registers;

/// The kernel gives at most so many random bytes at once (getrandom(2)).
const RANDOM_MAX: u64 = 33_554_431;
/// Where in `struct linux_dirent64` are its length and its name (getdents(2)).
const RECORD_LENGTH: usize = 16;
const RECORD_NAME: usize = 19;
/// Atomic time is ahead of that of day by so much, since 2017.
const ATOMIC_AHEAD_S: i64 = 37;
/// A function may use so much below its stack pointer (System V ABI for x86-64).
const RED_ZONE: u64 = 128;
const NANOSECONDS: i64 = 1_000_000_000;
/// So short of a full second a clock is when it is first looked at.
const SHORT_NS: i128 = 500_000;

/// Answers a call for random bytes with those of a stream.
pub(crate) fn random(pid: i32, tid: i32, call: &Call, stream: u64) -> bool {
    let [address, count, ..] = call.arguments;
    let mut random = Random::new(stream);
    let mut left = count.min(RANDOM_MAX);
    let mut at = address;
    let mut bytes = vec![0; 64 << 10];
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let Some(piece) = bytes.get_mut(..piece) else {
            return false;
        };
        random.fill(piece);
        if !write(pid, at, piece) {
            // The kernel's own answer to an address that is none.
            return false;
        }
        at += piece.len() as u64;
        left -= piece.len() as u64;
    }
    registers::skip(tid, count.min(RANDOM_MAX).cast_signed())
}

/// Puts a piece of a directory in an order that follows from a number: the same names come in the
/// same order, wherever the directory is. `.` and `..` stay first.
pub(crate) fn directory(pid: i32, call: &Call, length: i64, seed: u64) -> bool {
    let Ok(length) = usize::try_from(length) else {
        return false;
    };
    let mut bytes = vec![0; length];
    let [_, address, ..] = call.arguments;
    if read(pid, address, &mut bytes) != length {
        return false;
    }
    let Some(other) = reordered(&bytes, seed) else {
        return false;
    };
    other != bytes && write(pid, address, &other)
}

/// The orders that tell most have the lowest seeds: by name from the last to the first (0) and from the first
/// (1), by number, which mostly grows as files are made, from the highest (2) and from the lowest (3).
fn tell(records: &mut [Vec<u8>], seed: u64) {
    let name = |record: &Vec<u8>| {
        let name = record.get(RECORD_NAME..).unwrap_or_default();
        let end = name.iter().position(|byte| *byte == 0);
        name.get(..end.unwrap_or(name.len()))
            .unwrap_or_default()
            .to_vec()
    };
    let number = |record: &Vec<u8>| {
        let bytes = record.get(..8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes)
    };
    let own = records.iter().position(|record| {
        let name = name(record);
        name != b"." && name != b".."
    });
    let Some(records) = own.and_then(|own| records.get_mut(own..)) else {
        return;
    };
    match seed {
        0 => records.sort_by_cached_key(|record| Reverse(name(record))),
        1 => records.sort_by_cached_key(name),
        2 => records.sort_by_cached_key(|record| Reverse(number(record))),
        3 => records.sort_by_cached_key(number),
        _ => {}
    }
}

/// Records in another order. Where each ends in the directory is left where it was: the last one
/// then names, as it must, where the next piece begins.
fn reordered(bytes: &[u8], seed: u64) -> Option<Vec<u8>> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = rest.get(RECORD_LENGTH..RECORD_LENGTH + 2)?;
        let length = usize::from(u16::from_ne_bytes(length.try_into().ok()?));
        if length < RECORD_NAME || length > rest.len() {
            return None;
        }
        let (record, after) = rest.split_at(length);
        records.push(record.to_vec());
        rest = after;
    }
    let places: Vec<Vec<u8>> = (records.iter())
        .filter_map(|record| record.get(8..16).map(<[u8]>::to_vec))
        .collect();
    records.sort_by_cached_key(|record| {
        let name = record.get(RECORD_NAME..).unwrap_or_default();
        let end = name.iter().position(|byte| *byte == 0);
        let name = name.get(..end.unwrap_or(name.len())).unwrap_or_default();
        let rank = match name {
            b"." => 0,
            b".." => 1,
            _ => 2,
        };
        (rank, joined_bytes(seed, name), name.to_vec())
    });
    tell(&mut records, seed);
    for (record, place) in records.iter_mut().zip(places) {
        record.get_mut(8..16)?.copy_from_slice(&place);
    }
    Some(records.concat())
}

/// A clock that is off by the same all the time, once it was looked at first. What it shows then is half a
/// millisecond short of a full second: whoever looks twice sees two seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    unix_s: u64,
    offset_ns: Option<i128>,
}

/// What a call about time came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timed {
    /// It is none of ours.
    Left,
    /// It was answered.
    Answered,
    /// It was given another time to wait for; at its end this argument is to be as it was.
    Waits(usize, u64),
}

impl Clock {
    /// It shows this second at first, since 1970.
    pub(crate) fn showing(unix_s: u64) -> Clock {
        Clock {
            unix_s,
            offset_ns: None,
        }
    }

    /// By how much it is off.
    fn offset_ns(&mut self) -> i128 {
        let begin = (i128::from(self.unix_s) + 1) * i128::from(NANOSECONDS) - SHORT_NS;
        *self.offset_ns.get_or_insert_with(|| begin - now_ns())
    }

    /// Answers or changes a call that is stopped before it is made.
    pub(crate) fn answer(&mut self, pid: i32, tid: i32, call: &Call, stack: u64) -> Timed {
        let [first, second, third, fourth, ..] = call.arguments;
        match call.number {
            libc::SYS_clock_gettime => {
                let ahead = if first & 0xffff_ffff == 11 {
                    ATOMIC_AHEAD_S
                } else {
                    0
                };
                let (seconds, nanoseconds) = self.shown();
                answered(pid, tid, second, [seconds + ahead, nanoseconds], 0)
            }
            libc::SYS_gettimeofday => {
                let (seconds, nanoseconds) = self.shown();
                if third == 0 && first == 0 {
                    return Timed::Left;
                }
                answered(pid, tid, first, [seconds, nanoseconds / 1000], 0)
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_time => {
                let (seconds, _) = self.shown();
                if first != 0 && !write(pid, first, &seconds.to_ne_bytes()) {
                    return Timed::Left;
                }
                skipped(tid, seconds)
            }
            libc::SYS_clock_nanosleep if second & 1 == 1 => {
                self.waits(pid, tid, stack, (2, third), 0)
            }
            // FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI and FUTEX_LOCK_PI2 take a point in time.
            libc::SYS_futex if matches!(second & 0x7f, 9 | 11 | 13) && fourth != 0 => {
                self.waits(pid, tid, stack, (3, fourth), 0)
            }
            libc::SYS_timerfd_settime if is_timer_of_day(tid, first) => {
                self.waits(pid, tid, stack, (2, third), 16)
            }
            _ => Timed::Left,
        }
    }

    /// Seconds and nanoseconds since 1970, as this clock has it.
    fn shown(&mut self) -> (i64, i64) {
        split(now_ns() + self.offset_ns())
    }

    /// Has a call wait for a time on the true clock: a copy of what its argument points to, with the
    /// time at `offset` changed, is put below the stack, where nothing is kept.
    fn waits(
        &mut self,
        pid: i32,
        tid: i32,
        stack: u64,
        (place, address): (usize, u64),
        offset: usize,
    ) -> Timed {
        let words = read_words(pid, address, (offset + 16) / 8);
        let Some([seconds, nanoseconds]) = words.last_chunk::<2>() else {
            return Timed::Left;
        };
        let time = i128::from(seconds.cast_signed()) * i128::from(NANOSECONDS)
            + i128::from(nanoseconds.cast_signed());
        if time == 0 || !(0..NANOSECONDS).contains(&nanoseconds.cast_signed()) {
            return Timed::Left;
        }
        let before = words.get(..offset / 8).unwrap_or_default();
        let time = (time - self.offset_ns()).max(1);
        wait_for(pid, tid, stack, (place, address), before, time)
    }
}

/// Has a call wait for another time: what its argument points to is written anew below the stack.
fn wait_for(
    pid: i32,
    tid: i32,
    stack: u64,
    (place, address): (usize, u64),
    before: &[u64],
    time_ns: i128,
) -> Timed {
    let (seconds, nanoseconds) = split(time_ns);
    let mut bytes: Vec<u8> = before.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.extend(seconds.to_ne_bytes());
    bytes.extend(nanoseconds.to_ne_bytes());
    let at = (stack - RED_ZONE - bytes.len() as u64) & !15;
    if write(pid, at, &bytes) && registers::set_argument(tid, place, at) {
        return Timed::Waits(place, address);
    }
    Timed::Left
}

/// Has a thread that waits for its turn among those of an interpreter wait for less. It is known by how
/// long it waits: the interpreter's interval, which is 5 ms unless the program has set another.
pub(crate) fn sooner(pid: i32, tid: i32, call: &Call, stack: u64, after: Duration) -> Timed {
    const INTERVAL_NS: i128 = 5_000_000;
    let [_, _, _, address, ..] = call.arguments;
    let words = read_words(pid, address, 2);
    let (Some([seconds, nanoseconds]), Ok(now)) = (
        words.first_chunk::<2>(),
        clock_gettime(ClockId::CLOCK_MONOTONIC),
    ) else {
        return Timed::Left;
    };
    let ns = |seconds: i64, nanoseconds: i64| {
        i128::from(seconds) * i128::from(NANOSECONDS) + i128::from(nanoseconds)
    };
    let until = ns(seconds.cast_signed(), nanoseconds.cast_signed());
    let now = ns(now.tv_sec(), now.tv_nsec());
    let sooner = now + i128::try_from(after.as_nanos()).unwrap_or(0);
    // Some of the interval has passed until this is looked at.
    if !(INTERVAL_NS / 2..=INTERVAL_NS).contains(&(until - now)) || sooner >= until {
        return Timed::Left;
    }
    wait_for(pid, tid, stack, (3, address), &[], sooner)
}

fn answered(pid: i32, tid: i32, address: u64, words: [i64; 2], result: i64) -> Timed {
    let bytes = words.map(i64::to_ne_bytes).concat();
    if address != 0 && !write(pid, address, &bytes) {
        return Timed::Left;
    }
    skipped(tid, result)
}

fn skipped(tid: i32, result: i64) -> Timed {
    if registers::skip(tid, result) {
        Timed::Answered
    } else {
        Timed::Left
    }
}

fn now_ns() -> i128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i128::try_from(now.as_nanos()).unwrap_or(0))
}

fn split(ns: i128) -> (i64, i64) {
    let part = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
    let second = i128::from(NANOSECONDS);
    (part(ns.div_euclid(second)), part(ns.rem_euclid(second)))
}

/// Whether a timer follows the time of day (proc_pid_fdinfo(5)).
fn is_timer_of_day(tid: i32, fd: u64) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).unwrap_or_default();
    text.lines().any(|line| line.trim() == "clockid: 0")
}

/// Changes what a program that has just been loaded is told of its surroundings: without the kernel's
/// code in its memory (vDSO) it asks for time and random bytes by system calls, which can be answered;
/// and the bytes that some runtimes (Go, musl) take their first random numbers from are replaced.
pub(crate) fn surroundings(pid: i32, stack: u64, random: Option<[u8; 16]>) -> bool {
    const IGNORED: u64 = 1;
    const RANDOM: u64 = 25;
    const VDSO: u64 = 33;
    let mut at = stack;
    let mut words = Words::new(pid);
    let Some(count) = words.at(at) else {
        return false;
    };
    // Arguments and the zero after them, then variables and the zero after them.
    at += 8 * (count.saturating_add(2));
    loop {
        match words.at(at) {
            None => return false,
            Some(0) => break,
            Some(_) => at += 8,
        }
    }
    at += 8;
    while let (Some(kind), Some(value)) = (words.at(at), words.at(at + 8)) {
        match (kind, random) {
            (0, _) => return true,
            (VDSO, _) if !write(pid, at, &IGNORED.to_ne_bytes()) => return false,
            (RANDOM, Some(random)) if !write(pid, value, &random) => return false,
            _ => {}
        }
        at += 16;
    }
    false
}

/// Memory of a process, read in pieces.
struct Words {
    pid: i32,
    from: u64,
    words: Vec<u64>,
}

impl Words {
    fn new(pid: i32) -> Words {
        Words {
            pid,
            from: 0,
            words: Vec::new(),
        }
    }

    fn at(&mut self, address: u64) -> Option<u64> {
        let place = |from: u64| usize::try_from(address.checked_sub(from)? / 8).ok();
        if let Some(word) = place(self.from).and_then(|place| self.words.get(place)) {
            return Some(*word);
        }
        // To the end of the page: what follows need not be there.
        let left = usize::try_from(4096 - address % 4096).ok()? / 8;
        self.words = read_words(self.pid, address, left);
        self.from = address;
        self.words.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(place: u64, name: &str) -> Vec<u8> {
        let length = (RECORD_NAME + name.len() + 1).next_multiple_of(8);
        let mut record = vec![0; length];
        record[8..16].copy_from_slice(&place.to_ne_bytes());
        record[16..18].copy_from_slice(&u16::try_from(length).expect("short").to_ne_bytes());
        record[RECORD_NAME..RECORD_NAME + name.len()].copy_from_slice(name.as_bytes());
        record
    }

    fn names(mut bytes: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        while !bytes.is_empty() {
            let length = usize::from(u16::from_ne_bytes([bytes[16], bytes[17]]));
            let name = String::from_utf8_lossy(&bytes[RECORD_NAME..length]).into_owned();
            names.push(name.trim_end_matches('\0').to_owned());
            bytes = &bytes[length..];
        }
        names
    }

    #[test]
    fn a_directory_keeps_its_names_and_its_end() {
        let all = [".", "..", "a", "bb", "ccccccccc", "d"];
        let place = |number: usize| 100 + number as u64;
        let bytes: Vec<u8> = (all.iter().enumerate())
            .flat_map(|(number, name)| record(place(number), name))
            .collect();
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let other = reordered(&bytes, seed).expect("well formed");
            assert_eq!(other.len(), bytes.len());
            let mut found = names(&other);
            assert_eq!(found[..2], [".", ".."]);
            orders.insert(found.clone());
            found.sort();
            let mut sorted = all.map(str::to_owned).to_vec();
            sorted.sort();
            assert_eq!(found, sorted);
            assert_eq!(
                reordered(&other, seed).map(|again| names(&again)),
                Some(names(&other))
            );
            let last = u16::from_ne_bytes([bytes[16], bytes[17]]);
            assert!(last > 0);
        }
        assert!(orders.len() > 15, "{}", orders.len());
    }

    #[test]
    fn the_lowest_seeds_are_the_orders_that_tell_most() {
        let all = ["b", ".", "a", "..", "c"];
        let bytes: Vec<u8> = (all.iter().enumerate())
            .flat_map(|(number, name)| {
                let mut record = record(0, name);
                record[..8].copy_from_slice(&(100 - number as u64).to_ne_bytes());
                record
            })
            .collect();
        for (seed, order) in [
            (0, ["c", "b", "a"]),
            (1, ["a", "b", "c"]),
            (2, ["b", "a", "c"]),
            (3, ["c", "a", "b"]),
        ] {
            let other = reordered(&bytes, seed).expect("well formed");
            assert_eq!(names(&other)[2..], order, "seed {seed}");
        }
    }

    #[test]
    fn what_is_no_directory_is_left_alone() {
        assert_eq!(reordered(&[1; 40], 1), None);
        assert_eq!(reordered(&[0; 24], 1), None);
        assert_eq!(reordered(&[], 1), Some(Vec::new()));
    }

    #[test]
    fn times_are_split_below_zero_too() {
        assert_eq!(split(1_500_000_000), (1, 500_000_000));
        assert_eq!(split(-1), (-1, 999_999_999));
    }
}
