//! What it costs to send a parcel.

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// The same country.
    Home,
    /// The same continent.
    Near,
    /// Anywhere else.
    Far,
}

/// Cents for a parcel of so many grams.
pub fn price(zone: Zone, grams: u32, express: bool) -> u32 {
    let base = match zone {
        Zone::Home => 490,
        Zone::Near => 990,
        Zone::Far => 1990,
    };
    let weight = match grams {
        0..=1000 => 0,
        1001..=5000 => 300,
        5001..=9999 => 700,
        _ => 1500,
    };
    let mut price = base + weight;
    if express {
        if zone == Zone::Home {
            price += 500;
        } else {
            price += 1200 + weight / 10;
        }
    }
    if grams > 20_000 {
        price += surcharge(grams);
    }
    price
}

/// What is heavy needs two people.
fn surcharge(grams: u32) -> u32 {
    let started = (grams - 20_000) / 1000 + 1; // the fault
    250 + started * 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter() {
        assert_eq!(price(Zone::Home, 20, false), 490);
    }

    #[test]
    fn a_box() {
        assert_eq!(price(Zone::Home, 4000, false), 790);
        assert_eq!(price(Zone::Near, 6000, false), 1690);
    }

    #[test]
    fn in_a_hurry() {
        assert_eq!(price(Zone::Home, 100, true), 990);
        assert_eq!(price(Zone::Near, 4000, true), 2520);
    }

    #[test]
    fn what_is_heavy() {
        assert_eq!(price(Zone::Home, 21_500, false), 490 + 1500 + 450);
    }

    #[test]
    fn what_is_as_heavy_as_the_last_kilogram_allows() {
        assert_eq!(price(Zone::Near, 22_000, false), 990 + 1500 + 450);
    }
}
