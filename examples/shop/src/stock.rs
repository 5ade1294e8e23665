//! How many pieces of each product are there, behind one lock.

use tokio::sync::{Mutex, MutexGuard};

use crate::catalogue::PRODUCTS;

/// The supplier delivers up to this when fewer than [`FEW`] pieces are left, so nothing sells out.
const FULL: u32 = 1_000;
const FEW: u32 = 100;

/// Pieces by product.
pub(crate) struct Stock(Mutex<Pieces>);

impl Stock {
    pub(crate) fn full() -> Stock {
        Stock(Mutex::new(Pieces(vec![FULL; PRODUCTS as usize])))
    }

    pub(crate) async fn lock(&self) -> MutexGuard<'_, Pieces> {
        self.0.lock().await
    }
}

/// What the lock guards.
pub(crate) struct Pieces(Vec<u32>);

impl Pieces {
    /// 0 for a product that does not exist.
    pub(crate) fn of(&self, product: u32) -> u32 {
        self.0.get(product as usize).copied().unwrap_or(0)
    }

    /// Takes them out.
    pub(crate) fn take(&mut self, product: u32, quantity: u32) {
        if let Some(pieces) = self.0.get_mut(product as usize) {
            *pieces = pieces.saturating_sub(quantity);
            if *pieces < FEW {
                *pieces = FULL;
            }
        }
    }

    /// Products with fewer pieces than this, least first.
    pub(crate) fn below(&self, bound: u32) -> Vec<(u32, u32)> {
        let mut few: Vec<(u32, u32)> = (0u32..)
            .zip(self.0.iter().copied())
            .filter(|(_, n)| *n < bound)
            .collect();
        few.sort_unstable_by_key(|(product, pieces)| (*pieces, *product));
        few
    }
}
