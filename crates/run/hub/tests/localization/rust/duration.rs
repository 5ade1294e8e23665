//! Durations for people.

pub fn shown(seconds: u64) -> String {
    if seconds < 60 {
        return format!("{seconds} s");
    }
    let minutes = seconds / 60;
    if minutes < 60 {
        return two(minutes, "min", seconds % 60, "s");
    }
    let hours = minutes / 60;
    if hours < 24 {
        return two(hours, "h", minutes, "min"); // MISTAKE
    }
    two(hours / 24, "d", hours % 24, "h")
}

fn two(first: u64, of: &str, second: u64, of_second: &str) -> String {
    if second == 0 {
        format!("{first} {of}")
    } else {
        format!("{first} {of} {second} {of_second}")
    }
}

pub fn parsed(text: &str) -> Option<u64> {
    let mut total = 0;
    let mut words = text.split(' ');
    while let Some(number) = words.next() {
        let number: u64 = number.parse().ok()?;
        total += match words.next()? {
            "s" => number,
            "min" => number * 60,
            "h" => number * 3600,
            "d" => number * 86_400,
            _ => return None,
        };
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds() {
        assert_eq!(shown(59), "59 s");
    }

    #[test]
    fn minutes() {
        assert_eq!(shown(61), "1 min 1 s");
    }

    #[test]
    fn whole_minutes() {
        assert_eq!(shown(120), "2 min");
    }

    #[test]
    fn hours() {
        assert_eq!(shown(2 * 3600 + 300), "2 h 5 min");
    }

    #[test]
    fn days() {
        assert_eq!(shown(86_400 * 3), "3 d");
    }

    #[test]
    fn back() {
        assert_eq!(parsed("1 h 2 min"), Some(3720));
        assert_eq!(parsed("x"), None);
    }
}
