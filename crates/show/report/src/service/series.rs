//! What an instance did over time, in a bounded number of points.

use cohort_model::At;

/// Points kept; twice as many are halved.
const POINTS_MAX: usize = 600;

/// One stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Its end.
    pub at: At,
    /// Answered calls in a second.
    pub calls: f64,
    /// Errors in a second: server errors and calls without an answer.
    pub errors: f64,
    /// 95th percentile of latency, microseconds; `None` without calls.
    pub p95_us: Option<u64>,
    /// Cores used.
    pub cores: f64,
    /// Memory that cannot be dropped, bytes.
    pub memory: u64,
    /// Open descriptors.
    pub open_files: u32,
}

/// Points in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Series {
    points: Vec<Point>,
    newest: Newest,
    /// Windows that make one point.
    stride: usize,
    skipped: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    cores: f64,
    memory: u64,
    open_files: u32,
}

impl Series {
    /// All points, oldest first.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Cores, memory and descriptors as last read.
    #[must_use]
    pub fn newest(&self) -> (f64, u64, u32) {
        (
            self.newest.cores,
            self.newest.memory,
            self.newest.open_files,
        )
    }

    pub(crate) fn sample(&mut self, _at: At, cores: f64, memory: u64, open_files: u32) {
        // Smoothed over about a second of readings.
        let cores = 0.8 * self.newest.cores + 0.2 * cores;
        self.newest = Newest {
            cores,
            memory,
            open_files,
        };
    }

    pub(crate) fn load(&mut self, point: &Point) {
        self.skipped += 1;
        if self.skipped < self.stride.max(1) {
            return;
        }
        self.skipped = 0;
        self.points.push(Point {
            cores: self.newest.cores,
            memory: self.newest.memory,
            open_files: self.newest.open_files,
            ..*point
        });
        if self.points.len() >= 2 * POINTS_MAX {
            let mut place = 0;
            self.points.retain(|_| {
                place += 1;
                place % 2 == 0
            });
            self.stride = self.stride.max(1) * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_campaign_keeps_a_bounded_number_of_points_over_its_whole_length() {
        let mut series = Series::default();
        for second in 0..100_000_u64 {
            series.sample(At(second * 1_000_000), 1.0, second, 3);
            let point = Point {
                at: At(second * 1_000_000),
                calls: 5.0,
                ..Point::default()
            };
            series.load(&point);
        }
        let points = series.points();
        assert!(
            (POINTS_MAX / 2..2 * POINTS_MAX).contains(&points.len()),
            "{}",
            points.len()
        );
        assert!(points[0].at.seconds() < 1_000.0);
        assert!(points[points.len() - 1].at.seconds() > 99_000.0);
        assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
    }
}
