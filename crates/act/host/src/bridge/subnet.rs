//! A private range of addresses that nothing on this host uses yet.

use std::net::Ipv4Addr;

/// Length of the prefix of a campaign's range: 1,021 instances.
pub(super) const PREFIX: u8 = 22;
/// Addresses in it, that of the range itself and its last one for all included.
pub(super) const SIZE: u32 = 1 << (32 - PREFIX as u32);
/// Where ranges are looked for: the upper half of 10.0.0.0/8, which people seldom hand out by hand.
const FIRST: u32 = u32::from_be_bytes([10, 128, 0, 0]);
/// Ranges there.
const RANGES: u32 = (127 << 16) / SIZE;

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) device: String,
    pub(super) first: u32,
    pub(super) mask: u32,
}

impl Route {
    fn overlaps(&self, range: u32) -> bool {
        let shorter = self.mask & mask();
        self.mask != 0 && self.first & shorter == range & shorter
    }
}

/// Routes of `/proc/net/route`: after a heading, `device destination gateway flags refcnt use metric
/// mask ...`, addresses as the machine holds them in memory, in hexadecimal.
pub(super) fn routes(text: &str) -> Vec<Route> {
    let address = |word: &str| u32::from_str_radix(word, 16).ok().map(u32::from_be);
    let parse = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        Some(Route {
            device: (*words.first()?).to_owned(),
            first: address(words.get(1)?)?,
            mask: address(words.get(7)?)?,
        })
    };
    text.lines().skip(1).filter_map(parse).collect()
}

/// Free ranges, by their first address, beginning with one that depends on `seed`.
pub(super) fn free(routes: &[Route], seed: u32) -> impl Iterator<Item = u32> {
    // A large odd step, so that two seeds that follow each other begin far apart.
    let begin = seed.wrapping_mul(0x9e37_79b1) % RANGES;
    (0..RANGES)
        .map(move |number| FIRST + (begin + number) % RANGES * SIZE)
        .filter(move |range| !routes.iter().any(|route| route.overlaps(*range)))
}

/// Whether more than one device claims this range.
pub(super) fn is_contested(routes: &[Route], range: u32, own: &str) -> bool {
    routes
        .iter()
        .any(|route| route.device != own && route.overlaps(range))
}

pub(super) fn mask() -> u32 {
    !(SIZE - 1)
}

/// The `number`th address of a range.
pub(super) fn address(range: u32, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(range + number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        vpn0\t0000800A\t00000000\t0001\t0\t0\t0\t0000C0FF\t0\t0\t0\n";

    #[test]
    fn a_range_in_use_is_left_alone() {
        let routes = routes(TEXT);
        assert_eq!(routes[1].first, u32::from_be_bytes([192, 168, 0, 0]));
        for seed in [0, 1, 77, u32::MAX] {
            let range = free(&routes, seed).next().unwrap();
            assert!(Ipv4Addr::from(range).is_private());
            assert_eq!(range & mask(), range);
        }
        // 10.128.0.0/10 is taken.
        assert!(free(&routes, 5).all(|range| range >= u32::from_be_bytes([10, 192, 0, 0])));
        assert!(free(&[], 5).count() > free(&routes, 5).count());
        let all = [Route {
            device: "all".to_owned(),
            first: u32::from_be_bytes([10, 0, 0, 0]),
            mask: 0xff00_0000,
        }];
        assert_eq!(free(&all, 3).next(), None);
        assert!(is_contested(&all, FIRST, "own") && !is_contested(&all, FIRST, "all"));
    }
}
