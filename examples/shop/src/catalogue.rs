//! What the shop sells: the same made-up products every time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::shop::Shop;

/// How many products there are.
pub(crate) const PRODUCTS: u32 = 2_000;

/// On one page of a list.
const PAGE: usize = 24;

pub(crate) const CATEGORIES: [&str; 12] = [
    "kitchen", "garden", "bicycles", "books", "lamps", "tools", "toys", "tea", "music", "paper",
    "camping", "clothes",
];
const KINDS: [&str; 12] = [
    "kettle", "rake", "saddle", "atlas", "lantern", "spanner", "puzzle", "teapot", "recorder",
    "notebook", "tent", "sweater",
];
const LOOKS: [&str; 10] = [
    "plain", "green", "sturdy", "foldable", "little", "heavy", "elegant", "striped", "classic",
    "everyday",
];
const MATTERS: [&str; 8] = [
    "steel", "cedar", "ceramic", "leather", "linen", "copper", "bamboo", "recycled",
];
const PLACES: [&str; 6] = ["Aarhus", "Trieste", "Eger", "Dresden", "Leeds", "Rennes"];

/// One thing to buy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Product {
    pub id: u32,
    pub name: String,
    pub category: String,
    pub price_cents: u64,
    pub description: String,
}

impl Product {
    fn made(id: u32) -> Product {
        let at = |words: &[&'static str], step: u32| words[(id / step) as usize % words.len()];
        let (look, matter) = (at(&LOOKS, 12), at(&MATTERS, 7));
        let (kind, place) = (at(&KINDS, 1), at(&PLACES, 5));
        Product {
            id,
            name: format!("{look} {matter} {kind} no. {id}"),
            category: at(&CATEGORIES, 1).into(),
            price_cents: 300 + u64::from(id * 7_919 % 12_000),
            description: format!(
                "A {look} {kind} of {matter}, made in small series by a family near {place}, repaired for ever."
            ),
        }
    }
}

/// All products, and what searches look at.
pub(crate) struct Catalogue {
    pub products: Vec<Product>,
    /// Name and description in small letters, by product.
    pub texts: Vec<String>,
}

impl Catalogue {
    pub(crate) fn made() -> Catalogue {
        let products: Vec<Product> = (0..PRODUCTS).map(Product::made).collect();
        let texts = products
            .iter()
            .map(|p| format!("{} {}", p.name, p.description).to_lowercase());
        Catalogue {
            texts: texts.collect(),
            products,
        }
    }

    pub(crate) fn product(&self, id: u32) -> Result<&Product, Refusal> {
        let found = self.products.get(id as usize);
        found.ok_or_else(|| Refusal::NotFound(format!("product {id}")))
    }
}

pub(crate) async fn categories() -> Json<Value> {
    Json(json!({ "categories": CATEGORIES }))
}

#[derive(Deserialize)]
pub(crate) struct Listed {
    category: Option<String>,
    #[serde(default)]
    page: usize,
}

/// A page of products with what is in stock.
pub(crate) async fn list(
    State(shop): State<Arc<Shop>>,
    Query(listed): Query<Listed>,
) -> Result<Json<Value>, Refusal> {
    if let Some(name) = listed
        .category
        .as_deref()
        .filter(|name| !CATEGORIES.contains(name))
    {
        return Err(Refusal::NotFound(format!("category {name}")));
    }
    let wanted = |p: &&Product| {
        listed
            .category
            .as_ref()
            .is_none_or(|name| *name == p.category)
    };
    let found = shop.catalogue.products.iter().filter(wanted);
    let page: Vec<&Product> = found
        .skip(listed.page.saturating_mul(PAGE))
        .take(PAGE)
        .collect();
    let stock = shop.stock.lock().await;
    let products = page.iter().map(|p| {
        json!({ "id": p.id, "name": p.name, "price_cents": p.price_cents, "in_stock": stock.of(p.id) })
    });
    Ok(Json(
        json!({ "page": listed.page, "products": products.collect::<Vec<_>>() }),
    ))
}

pub(crate) async fn one(
    State(shop): State<Arc<Shop>>,
    Path(id): Path<u32>,
) -> Result<Json<Value>, Refusal> {
    let product = shop.catalogue.product(id)?;
    let in_stock = shop.stock.lock().await.of(id);
    Ok(Json(json!({ "product": product, "in_stock": in_stock })))
}
