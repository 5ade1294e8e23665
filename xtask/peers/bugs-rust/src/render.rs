//! Pictures in the background.

use std::sync::mpsc::{self, Receiver};
use std::thread;

/// A picture in grey, one byte a point.
pub struct Picture {
    /// Points in a row.
    pub width: usize,
    /// Row after row.
    pub points: Vec<u8>,
}

/// The Mandelbrot set, so many points wide and high.
pub fn mandelbrot(width: usize) -> Picture {
    let mut points = Vec::with_capacity(width * width);
    for row in 0..width {
        for column in 0..width {
            let (x, y) = (scaled(column, width) - 0.5, scaled(row, width));
            points.push(escape(x, y));
        }
    }
    Picture { width, points }
}

fn scaled(place: usize, width: usize) -> f64 {
    place as f64 / width as f64 * 3.0 - 1.5
}

fn escape(x: f64, y: f64) -> u8 {
    let (mut a, mut b) = (0.0, 0.0);
    for step in 0..=u8::MAX {
        let square = a * a - b * b + x;
        b = 2.0 * a * b + y;
        a = square;
        if a * a + b * b > 4.0 {
            return step;
        }
    }
    u8::MAX
}

/// Draws it elsewhere; it comes when it is ready.
pub fn in_background(width: usize) -> Receiver<Picture> {
    let (ready, picture) = mpsc::channel();
    thread::spawn(move || ready.send(mandelbrot(width)));
    picture
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_middle_is_black() {
        let picture = mandelbrot(16);
        assert_eq!(picture.points[8 * picture.width + 8], u8::MAX);
        assert_eq!(picture.points[0], 0);
    }

    #[test]
    fn a_picture_comes_soon() {
        let picture = in_background(90).recv_timeout(Duration::from_millis(12));
        let picture = picture.expect("a picture in time");
        assert_eq!(picture.points.len(), 90 * 90);
    }
}
