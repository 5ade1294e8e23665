//! The limit of a device: a token bucket (tc-tbf(8)) on what it sends.

use std::io;

use super::netlink::{Message, Socket, Wish};

const NEW_QDISC: u16 = 36;
const DEL_QDISC: u16 = 37;
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
/// `TCA_TBF_PARMS`, `TCA_TBF_RATE64`, `TCA_TBF_BURST`.
const PARAMETERS: u16 = 1;
const RATE_64: u16 = 4;
const BURST: u16 = 6;
/// `TC_H_ROOT`: the queue of the device itself.
const ROOT: u32 = 0xffff_ffff;
/// Number of ours, so that it is changed rather than made anew.
const HANDLE: u32 = 0x000c_0000;
/// `TC_LINKLAYER_ETHERNET`: sizes are counted, not looked up in a table.
const ETHERNET: u8 = 1;
/// What may be sent at once after a pause: this many milliseconds of the rate ...
const BURST_MS: u64 = 5;
/// ... and at least this, bytes: ten packets.
const BURST_BYTES_MIN: u64 = 15_140;
/// What waits in the queue at most: this many milliseconds of the rate ...
const QUEUE_MS: u64 = 50;
/// ... and at least this, bytes: one segment that the sender's kernel leaves whole.
const QUEUE_BYTES_MIN: u64 = 66_000;

/// Limits what device `index` sends, in bits a second; none: no limit.
pub(super) fn set(socket: &mut Socket, index: u32, rate: Option<u64>) -> io::Result<()> {
    let Some(bits) = rate else {
        let removed = socket.ask(Message::new(DEL_QDISC, Wish::Plain, &header(index, HANDLE)));
        return match removed {
            // There was none.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {
                Ok(())
            }
            other => other.map(drop),
        };
    };
    let bytes = (bits / 8).max(1_000);
    let burst = (bytes * BURST_MS / 1000).max(BURST_BYTES_MIN);
    let queue = (bytes * QUEUE_MS / 1000).max(QUEUE_BYTES_MIN);
    let cut = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let message = Message::new(NEW_QDISC, Wish::CreateOrReplace, &header(index, HANDLE))
        .with_text(KIND, "tbf")
        .with_nested(OPTIONS, &[], |options| {
            options
                .with(PARAMETERS, &parameters(cut(bytes), cut(queue)))
                .with(RATE_64, &bytes.to_ne_bytes())
                .with_number(BURST, cut(burst))
        });
    socket.ask(message).map(drop)
}

/// `struct tcmsg`
fn header(index: u32, handle: u32) -> [u8; 20] {
    let mut header = [0; 20];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&handle.to_ne_bytes());
    header[12..16].copy_from_slice(&ROOT.to_ne_bytes());
    header
}

/// `struct tc_tbf_qopt`: two `struct tc_ratespec` of 12 bytes, then limit, buffer, mtu.
fn parameters(rate: u32, queue: u32) -> [u8; 36] {
    let mut parameters = [0; 36];
    parameters[1] = ETHERNET;
    parameters[8..12].copy_from_slice(&rate.to_ne_bytes());
    parameters[24..28].copy_from_slice(&queue.to_ne_bytes());
    parameters
}
