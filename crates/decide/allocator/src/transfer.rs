//! Who gives how much of a resource to whom.
//!
//! One transfer has one receiver, the one that misses most of what it wants, and donors who have
//! more than they want. It is small, so that it can be measured and undone: no share changes by more
//! than a quarter of itself, and none falls below its floor.

use cohort_model::{InstanceId, Share};

/// Most that one change adds to a share or takes from it, relative to the share.
pub const CHANGE_MAX: f64 = 0.25;
/// Smaller changes are not worth a measurement, relative to the receiver's share.
const CHANGE_MIN: f64 = 0.05;
/// A receiver misses more than this of what it has.
const MISSING_MIN: f64 = 0.08;
/// A donor keeps this much more than it wants, relative.
const DONOR_KEEPS: f64 = 1.1;
/// Most donors of one transfer: each is an instance that no other change may touch meanwhile.
const DONORS_MAX: usize = 4;

/// What a share is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Cores.
    Cores,
    /// Memory, bytes.
    Memory,
    /// Network, bits in a second.
    Network,
}

impl Resource {
    /// All of them.
    pub const ALL: [Resource; 3] = [Resource::Cores, Resource::Memory, Resource::Network];

    /// Name on record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Resource::Cores => "cores",
            Resource::Memory => "memory",
            Resource::Network => "network",
        }
    }

    /// Least that an instance is left with.
    #[must_use]
    pub fn floor(self) -> f64 {
        match self {
            Resource::Cores => 0.1,
            Resource::Memory => (64_u64 << 20) as f64,
            Resource::Network => 1e6,
        }
    }

    /// Unit in which shares are given.
    fn grain(self) -> f64 {
        match self {
            Resource::Cores => 0.01,
            Resource::Memory => (1_u64 << 20) as f64,
            Resource::Network => 1e5,
        }
    }

    /// Rounded down to what can be given.
    #[must_use]
    pub fn round(self, amount: f64) -> f64 {
        (amount / self.grain() + 1e-9).floor() * self.grain()
    }

    /// This part of a share; `None` when it is not limited.
    #[must_use]
    pub fn of(self, share: &Share) -> Option<f64> {
        match self {
            Resource::Cores => Some(share.cores),
            Resource::Memory => Some(share.memory as f64),
            Resource::Network => share.network.map(|bits| bits as f64),
        }
    }

    /// The share with `amount` (negative: less) added to this part of it.
    #[must_use]
    pub fn add(self, share: Share, amount: f64) -> Share {
        let whole = |had: u64| (had as f64 + amount).max(0.0).round() as u64;
        match self {
            Resource::Cores => Share {
                cores: ((share.cores + amount) * 1e4).round() / 1e4,
                ..share
            },
            Resource::Memory => Share {
                memory: whole(share.memory),
                ..share
            },
            Resource::Network => Share {
                network: share.network.map(whole),
                ..share
            },
        }
    }

    /// An amount in words: `0.5 cores`, `64 MiB`, `12.0 Mbit/s`.
    #[must_use]
    pub fn words(self, amount: f64) -> String {
        match self {
            Resource::Cores => format!("{amount:.2} cores"),
            Resource::Memory => format!("{:.0} MiB", amount / (1_u64 << 20) as f64),
            Resource::Network => format!("{:.1} Mbit/s", amount / 1e6),
        }
    }
}

/// What one instance has of a resource, and wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// Who.
    pub instance: InstanceId,
    /// What it has.
    pub has: f64,
    /// What it wants.
    pub wants: f64,
    /// Never less than this.
    pub floor: f64,
    /// Its share may be raised now.
    pub may_receive: bool,
    /// Its share may be lowered now.
    pub may_give: bool,
}

impl Claim {
    fn missing(&self) -> f64 {
        self.wants - self.has
    }

    /// What it can do without in one change.
    fn surplus(&self) -> f64 {
        let keeps = (self.wants * DONOR_KEEPS).max(self.floor);
        (self.has - keeps).min(self.has * CHANGE_MAX).max(0.0)
    }
}

/// One change of shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Transfer {
    /// Who gets more.
    pub receiver: InstanceId,
    /// How much more.
    pub amount: f64,
    /// Who gives how much. What is missing to `amount` comes from what is free.
    pub donors: Vec<(InstanceId, f64)>,
}

/// The transfer that helps the one that misses most, from what is `free` and what others do not
/// need; `None` when nobody misses much, or nobody can give.
#[must_use]
pub fn transfer(resource: Resource, free: f64, claims: &[Claim]) -> Option<Transfer> {
    let receiver = claims
        .iter()
        .filter(|claim| claim.may_receive && claim.missing() > MISSING_MIN * claim.has)
        .max_by(|a, b| {
            let relative = |claim: &Claim| claim.missing() / claim.has.max(claim.floor);
            relative(a)
                .total_cmp(&relative(b))
                .then(b.instance.cmp(&a.instance))
        })?;
    let most = receiver.missing().min(receiver.has * CHANGE_MAX);
    let mut left = resource.round(most) - resource.round(free.min(most));
    let mut givers: Vec<&Claim> = claims
        .iter()
        .filter(|claim| claim.instance != receiver.instance && claim.may_give)
        .filter(|claim| resource.round(claim.surplus()) > 0.0)
        .collect();
    givers.sort_by(|a, b| {
        b.surplus()
            .total_cmp(&a.surplus())
            .then(a.instance.cmp(&b.instance))
    });
    let mut donors = Vec::new();
    for claim in givers.into_iter().take(DONORS_MAX) {
        let gives = resource.round(claim.surplus().min(left));
        if gives > 0.0 {
            donors.push((claim.instance, gives));
            left -= gives;
        }
    }
    let amount = resource.round(most) - resource.round(left.max(0.0) + resource.grain() * 0.999);
    let worth = amount > 0.0 && amount >= CHANGE_MIN * receiver.has;
    worth.then_some(Transfer {
        receiver: receiver.instance,
        amount,
        donors,
    })
}

/// How what is free is given to all alike: how much each gets. Nobody gets more than a quarter of
/// what it has.
#[must_use]
pub fn spread(resource: Resource, free: f64, claims: &[Claim]) -> Vec<(InstanceId, f64)> {
    let takers: Vec<&Claim> = claims.iter().filter(|claim| claim.may_receive).collect();
    let each = free / takers.len().max(1) as f64;
    takers
        .iter()
        .map(|claim| {
            let gets = resource.round(each.min(claim.has * CHANGE_MAX));
            (claim.instance, gets)
        })
        .filter(|&(_, gets)| gets > 0.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(id: u32, has: f64, wants: f64) -> Claim {
        Claim {
            instance: InstanceId(id),
            has,
            wants,
            floor: 0.1,
            may_receive: true,
            may_give: true,
        }
    }

    #[test]
    fn the_one_that_misses_most_gets_from_those_who_idle() {
        let claims = [
            claim(0, 0.5, 0.62),
            claim(1, 0.5, 0.12),
            claim(2, 0.5, 0.45),
            claim(3, 0.5, 0.3),
        ];
        let found = transfer(Resource::Cores, 0.0, &claims).expect("one is wanted");
        assert_eq!(found.receiver, InstanceId(0));
        assert!((found.amount - 0.12).abs() < 1e-9, "{found:?}");
        assert_eq!(found.donors.len(), 1);
        assert_eq!(found.donors[0].0, InstanceId(1));
    }

    #[test]
    fn nothing_is_taken_when_all_want_more_or_all_are_content() {
        let all = [claim(0, 0.5, 0.62), claim(1, 0.5, 0.62)];
        assert_eq!(transfer(Resource::Cores, 0.0, &all), None);
        let none = [claim(0, 0.5, 0.3), claim(1, 0.5, 0.2)];
        assert_eq!(transfer(Resource::Cores, 0.0, &none), None);
    }

    #[test]
    fn what_is_free_is_given_before_anyone_gives() {
        let claims = [claim(0, 0.5, 0.62), claim(1, 0.5, 0.12)];
        let found = transfer(Resource::Cores, 1.0, &claims).expect("one is wanted");
        assert!(found.donors.is_empty(), "{found:?}");
        let all = spread(Resource::Cores, 0.2, &claims);
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|&(_, gets)| (gets - 0.1).abs() < 1e-9));
    }

    proptest! {
        #[test]
        fn a_transfer_is_small_and_makes_nothing_of_nothing(
            rows in prop::collection::vec((0.1..2.0_f64, 0.0..2.5_f64, any::<bool>(), any::<bool>()), 1..20),
            free in prop::sample::select(vec![0.0, 0.05, 0.4]),
        ) {
            let claims: Vec<Claim> = rows
                .iter()
                .enumerate()
                .map(|(id, &(has, wants, may_receive, may_give))| Claim {
                    may_receive,
                    may_give,
                    ..claim(id as u32, has, wants)
                })
                .collect();
            if let Some(found) = transfer(Resource::Cores, free, &claims) {
                let given: f64 = found.donors.iter().map(|&(_, gives)| gives).sum();
                prop_assert!(found.amount <= given + free + 1e-9);
                let of = |id: InstanceId| claims[id.index()];
                let receiver = of(found.receiver);
                prop_assert!(receiver.may_receive);
                prop_assert!(found.amount <= receiver.has * CHANGE_MAX + 1e-9);
                for &(id, gives) in &found.donors {
                    prop_assert!(id != found.receiver && of(id).may_give);
                    prop_assert!(gives <= of(id).has * CHANGE_MAX + 1e-9);
                    prop_assert!(of(id).has - gives >= 0.1 - 1e-9);
                    prop_assert!(of(id).has - gives >= of(id).wants);
                }
            }
            let all: f64 = spread(Resource::Cores, free, &claims).iter().map(|&(_, gets)| gets).sum();
            prop_assert!(all <= free + 1e-9);
        }
    }
}
