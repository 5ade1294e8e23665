//! Network bytes of an instance that has a network namespace of its own.

use std::path::Path;

use cohort_model::InstanceSample;

use crate::kernel_file::{Buffer, KernelFile, lines, number};

/// Counts the bytes of one network namespace.
#[derive(Debug)]
pub(crate) struct Network(KernelFile);

impl Network {
    /// The namespace that process `pid` is in; none when that cannot be read.
    pub(crate) fn open(root: &Path, pid: i32) -> Option<Self> {
        KernelFile::open_if_there(&root.join(format!("proc/{pid}/net/dev"))).map(Self)
    }

    /// Fills received and sent bytes; leaves them alone when the namespace is gone.
    pub(crate) fn read(&self, buffer: &mut Buffer, sample: &mut InstanceSample) {
        if let Ok(text) = self.0.read(buffer) {
            let (received, sent) = network_bytes(text);
            sample.net_received = Some(received);
            sample.net_sent = Some(sent);
        }
    }
}

/// Received and sent bytes over all devices but the loopback one, which counts only where it is all
/// there is, of `/proc/PID/net/dev`: after two lines of headings,
/// `device: bytes packets errs drop fifo frame compressed multicast bytes ...`.
fn network_bytes(text: &[u8]) -> (u64, u64) {
    let mut totals = (0, 0);
    let mut loopback = (0, 0);
    let mut devices = 0;
    for line in lines(text).skip(2) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let fields = line[colon + 1..]
            .split(u8::is_ascii_whitespace)
            .filter(|field| !field.is_empty());
        let mut numbers = fields.filter_map(number);
        let counted = if line[..colon].trim_ascii() == b"lo" {
            &mut loopback
        } else {
            devices += 1;
            &mut totals
        };
        counted.0 += numbers.next().unwrap_or(0);
        counted.1 += numbers.nth(7).unwrap_or(0);
    }
    if devices > 0 { totals } else { loopback }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_bytes_of_all_devices_or_of_the_loopback_one_alone() {
        let text = b"Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:   6760      16    0    0    0     0          0         0     6761      16    0    0    0     0       0          0\n  \
            eth0:40 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(network_bytes(text), (40, 2));
        let alone = &text[..text.len() - b"eth0:40 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n".len()];
        assert_eq!(network_bytes(alone), (6760, 6761));
    }
}
