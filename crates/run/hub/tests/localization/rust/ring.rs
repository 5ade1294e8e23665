//! A buffer that forgets the oldest.

pub struct Ring {
    items: Vec<u32>,
    start: usize,
    len: usize,
}

impl Ring {
    pub fn new(room: usize) -> Ring {
        Ring {
            items: vec![0; room],
            start: 0,
            len: 0,
        }
    }

    pub fn push(&mut self, item: u32) {
        let room = self.items.len();
        let place = (self.start + self.len) % room;
        self.items[place] = item;
        if self.len < room {
            self.len += 1;
        } else {
            self.start = (self.start + 1) % room;
        }
    }

    pub fn pop(&mut self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let item = self.items[self.start];
        self.start += 1;
        self.len -= 1;
        Some(item)
    }

    pub fn last(&self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        if self.start + self.len > self.items.len() {
            let wrapped = self.start + self.len - self.items.len();
            return Some(self.items[wrapped]); // MISTAKE
        }
        Some(self.items[self.start + self.len - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty() {
        assert_eq!(Ring::new(2).pop(), None);
        assert_eq!(Ring::new(2).last(), None);
    }

    #[test]
    fn in_order() {
        let mut ring = Ring::new(3);
        ring.push(1);
        ring.push(2);
        assert_eq!((ring.pop(), ring.pop(), ring.pop()), (Some(1), Some(2), None));
    }

    #[test]
    fn forgets() {
        let mut ring = Ring::new(2);
        for item in 1..4 {
            ring.push(item);
        }
        assert_eq!(ring.pop(), Some(2));
    }

    #[test]
    fn last() {
        let mut ring = Ring::new(3);
        ring.push(7);
        assert_eq!(ring.last(), Some(7));
    }

    #[test]
    fn last_after_forgetting() {
        let mut ring = Ring::new(3);
        for item in 1..6 {
            ring.push(item);
        }
        assert_eq!(ring.last(), Some(5));
    }
}
