//! The best division of a series into straight lines, for every number of lines at once
//! (dynamic programming over sums; Bellman 1961), and the least squares error of a smooth curve.

/// Sums from the start, so that the error of any piece is O(1).
pub(super) struct Lines {
    n: usize,
    /// Of 1 x: values, squares, and values times place.
    values: Vec<f64>,
    squares: Vec<f64>,
    moments: Vec<f64>,
}

/// One division: where its pieces but the first start, and the squared error of their lines.
pub(super) struct Division {
    pub(super) starts: Vec<usize>,
    pub(super) error: f64,
}

impl Lines {
    pub(super) fn of(points: &[f64]) -> Lines {
        let sums = |of: &dyn Fn(usize, f64) -> f64| {
            let mut sum = 0.0;
            let mut sums = vec![0.0];
            for (place, value) in points.iter().enumerate() {
                sum += of(place, *value);
                sums.push(sum);
            }
            sums
        };
        Lines {
            n: points.len(),
            values: sums(&|_, v| v),
            squares: sums(&|_, v| v * v),
            moments: sums(&|place, v| place as f64 * v),
        }
    }

    /// Level at the middle, and slope, of the line through `from..to`; and its squared error.
    fn line(&self, from: usize, to: usize) -> (f64, f64, f64) {
        let count = (to - from) as f64;
        let middle = (from + to - 1) as f64 / 2.0;
        let sum = self.values[to] - self.values[from];
        let spread = count * (count * count - 1.0) / 12.0;
        let product = self.moments[to] - self.moments[from] - middle * sum;
        let total = self.squares[to] - self.squares[from] - sum * sum / count;
        let slope = if spread > 0.0 { product / spread } else { 0.0 };
        (sum / count, slope, (total - slope * product).max(0.0))
    }

    /// The best divisions into 1, 2, ... `most` + 1 pieces of at least `piece` values, as far as
    /// there is room for them.
    pub(super) fn divisions(&self, piece: usize, most: usize) -> Vec<Division> {
        let whole = |to: usize| {
            if to >= piece {
                self.line(0, to).2
            } else {
                f64::INFINITY
            }
        };
        let mut errors: Vec<f64> = (0..=self.n).map(whole).collect();
        let mut origins: Vec<Vec<usize>> = Vec::new();
        let mut divisions = vec![Division {
            starts: Vec::new(),
            error: errors[self.n],
        }];
        for changes in 1..=most {
            if (changes + 1) * piece > self.n {
                break;
            }
            let mut next = vec![f64::INFINITY; self.n + 1];
            let mut from = vec![0; self.n + 1];
            for to in (changes + 1) * piece..=self.n {
                let first = changes * piece;
                for (place, before) in errors[first..=to - piece].iter().enumerate() {
                    let error = before + self.line(first + place, to).2;
                    if error < next[to] {
                        next[to] = error;
                        from[to] = first + place;
                    }
                }
            }
            errors = next;
            origins.push(from);
            divisions.push(Division {
                starts: trace(&origins, self.n),
                error: errors[self.n],
            });
        }
        divisions
    }

    /// What the lines between `starts` leave unexplained.
    pub(super) fn residuals(&self, points: &[f64], starts: &[usize]) -> Vec<f64> {
        let mut residuals = Vec::with_capacity(self.n);
        let mut from = 0;
        for to in starts.iter().copied().chain([self.n]) {
            let (level, slope, _) = self.line(from, to);
            let middle = (from + to - 1) as f64 / 2.0;
            residuals.extend((from..to).map(|t| points[t] - level - slope * (t as f64 - middle)));
            from = to;
        }
        residuals
    }
}

fn trace(origins: &[Vec<usize>], end: usize) -> Vec<usize> {
    let mut starts = Vec::with_capacity(origins.len());
    let mut to = end;
    for from in origins.iter().rev() {
        to = from[to];
        starts.push(to);
    }
    starts.reverse();
    starts
}

/// Squared error of the best polynomial of `degree`, by projection on orthogonal polynomials
/// (Gram-Schmidt on the grid; Forsythe 1957).
pub(super) fn polynomial_error(points: &[f64], degree: usize) -> f64 {
    let n = points.len();
    let place = |t: usize| 2.0 * t as f64 / (n.max(2) - 1) as f64 - 1.0;
    let mut left = points.to_vec();
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for power in 0..=degree {
        let mut shape: Vec<f64> = match basis.last() {
            None => vec![1.0; n],
            Some(last) => (0..n).map(|t| place(t) * last[t]).collect(),
        };
        for earlier in &basis {
            remove(&mut shape, earlier);
        }
        if power >= n {
            break;
        }
        remove(&mut left, &shape);
        basis.push(shape);
    }
    left.iter().map(|v| v * v).sum()
}

/// Takes out of `values` what is along `shape`.
fn remove(values: &mut [f64], shape: &[f64]) {
    let squares: f64 = shape.iter().map(|v| v * v).sum();
    if squares <= 1e-12 {
        return;
    }
    let product: f64 = values.iter().zip(shape).map(|(v, s)| v * s).sum();
    for (value, s) in values.iter_mut().zip(shape) {
        *value -= s * product / squares;
    }
}
