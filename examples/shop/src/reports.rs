//! What the people who run the shop look at.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::catalogue::CATEGORIES;
use crate::defects::Defect;
use crate::shop::{Shop, blocking};

/// Fewer pieces than this are few.
const FEW: u32 = 300;

/// Sales by category: sums that every order keeps up to date.
pub(crate) async fn sales(State(shop): State<Arc<Shop>>) -> Result<Json<Value>, Refusal> {
    let careless = shop.defects.on(Defect::SlowQuery);
    let sales = blocking(&shop, move |shop| {
        let of = |category: &&'static str| {
            let sold = if careless {
                shop.store.sold_by_reading_orders(category)?
            } else {
                shop.store.sold(category)?
            };
            Ok(json!({ "category": category, "pieces": sold.pieces, "cents": sold.cents }))
        };
        CATEGORIES
            .iter()
            .map(of)
            .collect::<Result<Vec<Value>, Refusal>>()
    });
    Ok(Json(json!({ "sales": sales.await? })))
}

/// What should be ordered soon.
pub(crate) async fn stock(State(shop): State<Arc<Shop>>) -> Json<Value> {
    let few = shop.stock.lock().await.below(FEW);
    let few = few
        .iter()
        .take(50)
        .map(|(product, pieces)| json!({ "product": product, "pieces": pieces }));
    Json(json!({ "few": few.collect::<Vec<_>>() }))
}
