//! Everything the shop holds, and which call goes where.

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Json, Router, middleware};

use crate::access::{self, AccessLog};
use crate::answer::Refusal;
use crate::arguments::Arguments;
use crate::bank::Bank;
use crate::cart::Carts;
use crate::catalogue::Catalogue;
use crate::defects::{Defect, Defects};
use crate::leaflets::Leaflets;
use crate::receipts::Receipts;
use crate::recommendations::Recommendations;
use crate::stock::Stock;
use crate::store::Store;
use crate::{
    cart, catalogue, leaflets, orders, pages, receipts, recommendations, reports, search, session,
    widget,
};

/// One shop.
pub(crate) struct Shop {
    pub defects: Defects,
    pub access: AccessLog,
    pub store: Store,
    pub catalogue: Catalogue,
    pub stock: Stock,
    pub bank: Bank,
    pub carts: Carts,
    pub receipts: Receipts,
    pub leaflets: Leaflets,
    pub recommendations: Recommendations,
}

impl Shop {
    /// Opens the database, and makes it when it is not there. Inside of a runtime.
    pub(crate) fn open(arguments: &Arguments, defects: Defects) -> Result<Shop, String> {
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let data = arguments.data.display().to_string();
        std::fs::create_dir_all(&arguments.data).map_err(|error| failed(&data, &error))?;
        let old = defects.on(Defect::VulnerableDependency);
        widget::unpack(&arguments.data, old).map_err(|error| failed(&data, &error))?;
        let catalogue = Catalogue::made();
        Ok(Shop {
            defects,
            access: AccessLog::open(arguments.access_log.as_deref())
                .map_err(|error| failed("access log", &error))?,
            store: Store::open(&arguments.data, &catalogue)
                .map_err(|error| failed(&data, &error))?,
            catalogue,
            stock: Stock::full(),
            bank: Bank::open().map_err(|error| failed("bank", &error))?,
            carts: Carts::default(),
            leaflets: Leaflets::open(&arguments.data).map_err(|error| failed(&data, &error))?,
            receipts: Receipts::open(&arguments.data).map_err(|error| failed(&data, &error))?,
            recommendations: Recommendations::default(),
        })
    }
}

/// Does on a thread of its own what blocks.
pub(crate) async fn blocking<T, F>(shop: &Arc<Shop>, work: F) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: FnOnce(&Shop) -> Result<T, Refusal> + Send + 'static,
{
    let shop = shop.clone();
    let done = tokio::task::spawn_blocking(move || work(&shop)).await;
    done.unwrap_or_else(|error| Err(Refusal::Failed(format!("interrupted: {error}"))))
}

/// All calls.
pub(crate) fn routes(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/login", post(session::login))
        .route("/logout", post(session::logout))
        .route("/account", get(session::account))
        .route("/categories", get(catalogue::categories))
        .route("/products", get(catalogue::list))
        .route("/products/{id}", get(catalogue::one))
        .route("/search", get(search::search))
        .route("/recommendations", get(recommendations::recommend))
        .route("/leaflets", get(leaflets::leaflet))
        .route("/welcome", get(pages::welcome))
        .route("/go", get(pages::go))
        .route("/cart", get(cart::show).delete(cart::clear))
        .route("/cart/items", post(cart::add))
        .route("/checkout", post(orders::checkout))
        .route("/orders/{id}", get(orders::one))
        .route("/orders/{id}/receipt", get(receipts::receipt))
        .route("/reports/sales", get(reports::sales))
        .route("/reports/stock", get(reports::stock))
        .layer(middleware::from_fn_with_state(shop.clone(), pages::headers))
        .layer(middleware::from_fn_with_state(shop.clone(), access::note))
        .with_state(shop)
}

async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}
