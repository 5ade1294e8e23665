//! Neighbours in a grid.

pub struct Grid {
    pub width: usize,
    pub height: usize,
    pub alive: Vec<bool>,
}

impl Grid {
    pub fn new(rows: &[&str]) -> Grid {
        let width = rows.first().map_or(0, |row| row.len());
        let alive = rows.iter().flat_map(|row| row.bytes().map(|b| b == b'#'));
        Grid {
            width,
            height: rows.len(),
            alive: alive.collect(),
        }
    }

    fn at(&self, x: usize, y: usize) -> bool {
        self.alive[y * self.width + x]
    }

    pub fn neighbours(&self, x: usize, y: usize) -> usize {
        let mut count = 0;
        for row in y.saturating_sub(1)..(y + 2).min(self.height) {
            for column in x.saturating_sub(1)..(x + 2).min(self.width) {
                if (column, row) != (x, y) && self.at(column, row) {
                    count += 1;
                }
            }
        }
        count
    }

    pub fn next(&self) -> Vec<bool> {
        let mut next = Vec::new();
        for y in 0..self.height {
            for x in 0..self.width {
                let count = self.neighbours(x, y);
                let lives = if self.at(x, y) {
                    count == 2 || count == 3
                } else {
                    count >= 3 // MISTAKE
                };
                next.push(lives);
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        assert_eq!(Grid::new(&["##", "#."]).neighbours(1, 1), 3);
        assert_eq!(Grid::new(&["##", "#."]).neighbours(0, 0), 2);
    }

    #[test]
    fn alone() {
        assert_eq!(Grid::new(&["#"]).next(), [false]);
    }

    #[test]
    fn stays() {
        assert_eq!(Grid::new(&["##", "##"]).next(), [true; 4]);
    }

    #[test]
    fn is_born() {
        assert_eq!(Grid::new(&["##", "#."]).next(), [true; 4]);
    }

    #[test]
    fn is_not_born_among_many() {
        let next = Grid::new(&["##.", "#.#"]).next();
        assert!(!next[4], "{next:?}");
    }
}
