//! How an answer is written and read: bytes, numbers of variable length, and places in the table.

use std::rc::Rc;

use super::{Entry, Given, TABLE_FROM, Table};
use crate::call::{Permit, Reply};
use crate::exchange::{Exchange, part};
use crate::http::{Response, Timings, TransportError};

const RESUME: u8 = 0;
const BEGIN: u8 = 1;
const EXCHANGES: u8 = 2;
const WOKEN: u8 = 3;
const NOW: u8 = 4;
const INTERRUPT: u8 = 5;
const STOP: u8 = 6;
const DATA: u8 = 7;
/// Bit of an outcome's parts: there is no response.
const FAILED: u8 = 0x80;

/// Headers that a machine reads itself.
fn is_own(name: &str) -> bool {
    ["location", "set-cookie", "content-encoding"]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own))
}

fn numbers(permit: &Permit) -> [u64; 9] {
    let around = &permit.around;
    [
        permit.in_vu,
        permit.in_scenario,
        permit.in_instance,
        u64::from(permit.progress_permille),
        around.iterations_completed,
        around.iterations_interrupted,
        around.vus_active,
        around.vus_initialized,
        around.test_run_us,
    ]
}

/// Writes.
pub(super) struct Pen<'a> {
    pub(super) log: &'a mut Vec<u8>,
    pub(super) table: &'a mut Table,
}

impl Pen<'_> {
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.log.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.log.push(value as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if bytes.len() < TABLE_FROM {
            self.number((bytes.len() as u64) << 1);
            self.log.extend_from_slice(bytes);
        } else {
            let id = self.table.add(bytes);
            self.number(id << 1 | 1);
        }
    }

    pub(super) fn entry(&mut self, entry: &Entry, last_us: &mut u64, last_permit: &mut [u64; 9]) {
        let kind = match &entry.given {
            Given::Exchanges(..) => EXCHANGES,
            Given::Stop { .. } => STOP,
            Given::Reply(reply) => match reply {
                Reply::Begin(_) => BEGIN,
                Reply::Data(_) => DATA,
                Reply::Woken => WOKEN,
                Reply::Now => NOW,
                Reply::Interrupt { .. } => INTERRUPT,
                Reply::Resume | Reply::Terminate | Reply::Responses(_) => RESUME,
            },
        };
        self.log.push(kind);
        self.number(entry.at_us.saturating_sub(*last_us));
        *last_us = entry.at_us.max(*last_us);
        match &entry.given {
            Given::Reply(Reply::Begin(permit)) => {
                for (value, last) in numbers(permit).into_iter().zip(last_permit) {
                    let change = value.wrapping_sub(*last) as i64;
                    self.number((change << 1 ^ (change >> 63)) as u64);
                    *last = value;
                }
            }
            Given::Reply(Reply::Interrupt { reason }) => self.bytes(reason.as_bytes()),
            Given::Reply(Reply::Data(data)) => {
                self.log.push(u8::from(data.is_some()));
                self.bytes(data.as_deref().unwrap_or_default().as_bytes());
            }
            Given::Reply(_) => {}
            Given::Stop { polls, reason } => {
                self.number(*polls);
                self.bytes(reason.as_bytes());
            }
            Given::Exchanges(print, exchanges) => {
                self.log.extend_from_slice(&print.to_le_bytes());
                self.number(exchanges.len() as u64);
                for exchange in exchanges {
                    self.exchange(exchange);
                }
            }
        }
    }

    fn exchange(&mut self, exchange: &Exchange) {
        match &*exchange.outcome.borrow() {
            Err(error) => {
                self.log.push(FAILED);
                self.number(u64::from(error.code));
                self.bytes(error.message.as_bytes());
                self.timings(&error.timings);
            }
            Ok(response) => {
                let parts = exchange.needed() & exchange.kept;
                self.log.push(parts);
                self.response(response, parts);
            }
        }
    }

    fn response(&mut self, response: &Response, parts: u8) {
        self.number(u64::from(response.status));
        let kept = |name: &str| parts & part::HEADERS != 0 || is_own(name);
        self.number(
            response
                .headers
                .iter()
                .filter(|(name, _)| kept(name))
                .count() as u64,
        );
        for (name, value) in response.headers.iter().filter(|(name, _)| kept(name)) {
            self.bytes(name.as_bytes());
            self.bytes(value.as_bytes());
        }
        if parts & part::BODY != 0 {
            self.bytes(&response.body);
        }
        if parts & part::REST != 0 {
            self.bytes(response.proto.as_bytes());
            self.bytes(response.remote_ip.as_bytes());
            self.number(u64::from(response.remote_port));
            self.timings(&response.timings);
        }
    }

    fn timings(&mut self, timings: &Timings) {
        for us in [
            timings.blocked_us,
            timings.connecting_us,
            timings.tls_us,
            timings.sending_us,
            timings.waiting_us,
            timings.receiving_us,
        ] {
            self.number(us);
        }
    }
}

/// Reads; `None` when there is nothing sensible to read.
pub(super) struct Eye<'a> {
    pub(super) rest: &'a [u8],
    pub(super) table: &'a Table,
}

impl Eye<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn short(&mut self) -> Option<u16> {
        u16::try_from(self.number()?).ok()
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let head = self.number()?;
        let size = usize::try_from(head >> 1).ok()?;
        if head & 1 == 1 {
            return self.table.blobs.get(size).map(|blob| blob.to_vec());
        }
        let bytes = self.rest.get(..size)?.to_vec();
        self.rest = &self.rest[size..];
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn entry(&mut self, last_us: &mut u64, last_permit: &mut [u64; 9]) -> Option<Entry> {
        let kind = self.byte()?;
        let at_us = last_us.checked_add(self.number()?)?;
        *last_us = at_us;
        let given = match kind {
            RESUME => Given::Reply(Reply::Resume),
            WOKEN => Given::Reply(Reply::Woken),
            NOW => Given::Reply(Reply::Now),
            BEGIN => Given::Reply(Reply::Begin(self.permit(last_permit)?)),
            INTERRUPT => Given::Reply(Reply::Interrupt {
                reason: self.text()?,
            }),
            DATA => {
                let is_some = self.byte()? == 1;
                let data = self.text()?;
                Given::Reply(Reply::Data(is_some.then_some(data)))
            }
            STOP => Given::Stop {
                polls: self.number()?,
                reason: self.text()?,
            },
            EXCHANGES => {
                let print = u16::from_le_bytes([self.byte()?, self.byte()?]);
                let count = self.number()?;
                let exchanges: Option<Vec<_>> =
                    (0..count).map(|_| self.exchange().map(Rc::new)).collect();
                Given::Exchanges(print, exchanges?)
            }
            _ => return None,
        };
        Some(Entry { at_us, given })
    }

    fn permit(&mut self, last: &mut [u64; 9]) -> Option<Permit> {
        for value in last.iter_mut() {
            let change = self.number()?;
            *value = value.wrapping_add(((change >> 1) as i64 ^ -((change & 1) as i64)) as u64);
        }
        let mut permit = Permit {
            in_vu: last[0],
            in_scenario: last[1],
            in_instance: last[2],
            progress_permille: u16::try_from(last[3]).ok()?,
            ..Permit::default()
        };
        permit.around.iterations_completed = last[4];
        permit.around.iterations_interrupted = last[5];
        permit.around.vus_active = last[6];
        permit.around.vus_initialized = last[7];
        permit.around.test_run_us = last[8];
        Some(permit)
    }

    fn exchange(&mut self) -> Option<Exchange> {
        let parts = self.byte()?;
        if parts == FAILED {
            let error = TransportError {
                code: self.short()?,
                message: self.text()?,
                timings: self.timings()?,
            };
            return Some(Exchange::new(Err(error), part::ALL));
        }
        let mut response = Response {
            status: self.short()?,
            ..Response::default()
        };
        for _ in 0..self.number()? {
            let header = (self.text()?, self.text()?);
            response.headers.push(header);
        }
        if parts & part::BODY != 0 {
            response.body = self.bytes()?;
        }
        if parts & part::REST != 0 {
            response.proto = self.text()?;
            response.remote_ip = self.text()?;
            response.remote_port = self.short()?;
            response.timings = self.timings()?;
        }
        Some(Exchange::new(Ok(response), parts))
    }

    fn timings(&mut self) -> Option<Timings> {
        Some(Timings {
            blocked_us: self.number()?,
            connecting_us: self.number()?,
            tls_us: self.number()?,
            sending_us: self.number()?,
            waiting_us: self.number()?,
            receiving_us: self.number()?,
        })
    }
}
