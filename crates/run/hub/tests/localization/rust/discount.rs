//! Prices of orders.

pub fn share(count: u32, member: bool) -> u32 {
    if count >= 100 {
        return 20;
    }
    if count >= 10 {
        if member {
            return 5; // MISTAKE
        }
        return 10;
    }
    u32::from(member) * 3
}

pub fn total(count: u32, each: u32, member: bool) -> u32 {
    let full = count * each;
    let off = full * share(count, member) / 100;
    full - off
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few() {
        assert_eq!(total(2, 100, false), 200);
    }

    #[test]
    fn few_of_a_member() {
        assert_eq!(total(1, 100, true), 97);
    }

    #[test]
    fn some() {
        assert_eq!(total(10, 100, false), 900);
    }

    #[test]
    fn some_of_a_member() {
        assert_eq!(total(10, 100, true), 850);
    }

    #[test]
    fn many() {
        assert_eq!(total(100, 1, false), 80);
    }
}
