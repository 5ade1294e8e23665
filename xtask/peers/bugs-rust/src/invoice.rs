//! What a customer has to pay.

use std::collections::HashMap;

/// Amounts by article.
#[derive(Default)]
pub struct Invoice {
    lines: HashMap<&'static str, f64>,
}

impl Invoice {
    /// So many of an article, at a price each.
    pub fn add(&mut self, article: &'static str, count: u32, price: f64) {
        *self.lines.entry(article).or_default() += f64::from(count) * price;
    }

    /// All of it.
    pub fn net(&self) -> f64 {
        self.lines.values().sum()
    }

    /// With tax, in cents.
    pub fn gross_cents(&self, tax: f64) -> i64 {
        (self.net() * (1.0 + tax) * 100.0).round() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_multiplied() {
        let mut invoice = Invoice::default();
        invoice.add("pen", 4, 0.25);
        invoice.add("pen", 4, 0.25);
        assert_eq!(invoice.gross_cents(0.5), 300);
    }

    #[test]
    fn a_half_cent_is_rounded_up() {
        let mut invoice = Invoice::default();
        LINES
            .iter()
            .for_each(|(article, count, price)| invoice.add(article, *count, *price));
        assert_eq!(invoice.gross_cents(0.0), 15_445);
    }

    /// 154.445 in all.
    const LINES: [(&str, u32, f64); 6] = [
        ("cable", 1, 22.064),
        ("lamp", 1, 32.885),
        ("shelf", 1, 34.416),
        ("chair", 1, 34.338),
        ("screws", 1, 2.584),
        ("mirror", 1, 28.158),
    ];
}
