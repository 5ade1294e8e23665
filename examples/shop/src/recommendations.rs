//! What a customer may like: all products ranked by a taste, which is computed once for each taste
//! and then kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::catalogue::{CATEGORIES, Catalogue};
use crate::defects::Defect;
use crate::session::Session;
use crate::shop::Shop;

const SHOWN: usize = 8;

/// Product and how well it fits, best first.
type Ranking = Arc<Vec<(u32, f64)>>;

/// Rankings by taste. There are as many tastes as categories, so this stays small.
#[derive(Default)]
pub(crate) struct Recommendations(Mutex<HashMap<u64, Ranking>>);

impl Recommendations {
    fn ranking(&self, key: u64, taste: u64, catalogue: &Catalogue) -> Ranking {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(key)
            .or_insert_with(|| Arc::new(ranked(taste, catalogue)))
            .clone()
    }
}

/// About 32 KB.
fn ranked(taste: u64, catalogue: &Catalogue) -> Vec<(u32, f64)> {
    let category = CATEGORIES[taste as usize % CATEGORIES.len()];
    let fits = catalogue.products.iter().map(|product| {
        let liked = if product.category == category {
            2.0
        } else {
            0.0
        };
        let cheap = 1.0 - product.price_cents as f64 / 12_300.0;
        (product.id, liked + cheap)
    });
    let mut fits: Vec<(u32, f64)> = fits.collect();
    fits.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    fits
}

pub(crate) async fn recommend(State(shop): State<Arc<Shop>>, session: Session) -> Json<Value> {
    let taste = u64::from(session.customer) % CATEGORIES.len() as u64;
    // A session's number is new with every log-in, so what is kept under it is never asked for again.
    let key = if shop.defects.on(Defect::MemoryLeak) {
        session.number
    } else {
        taste
    };
    let ranking = shop.recommendations.ranking(key, taste, &shop.catalogue);
    let shown = ranking.iter().take(SHOWN).filter_map(|(id, fits)| {
        let product = shop.catalogue.product(*id).ok()?;
        Some(json!({ "id": id, "name": product.name, "price_cents": product.price_cents, "fits": fits }))
    });
    Json(json!({ "products": shown.collect::<Vec<_>>() }))
}
