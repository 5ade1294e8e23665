//! The database file: products, the last [`ORDERS_KEPT`] orders, and sales by category.
//!
//! An order is in the file for all who read as soon as it is placed, and on disk within
//! [`FLUSH_EVERY`]: what a power cut may cost is traded for the time of a flush in every order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::catalogue::{Catalogue, Product};
use crate::log;
use crate::orders::Order;
use crate::shop::Shop;

const PRODUCTS: TableDefinition<u32, &[u8]> = TableDefinition::new("products");
const ORDERS: TableDefinition<u64, &[u8]> = TableDefinition::new("orders");
/// Pieces and cents by category.
const SALES: TableDefinition<&str, (u64, u64)> = TableDefinition::new("sales");

const ORDERS_KEPT: u64 = 20_000;
const FLUSH_EVERY: Duration = Duration::from_secs(2);

/// Full within seconds; a larger one would go on filling for minutes, and look like a leak meanwhile.
const CACHE_BYTES: usize = 256 << 10;

/// The open file.
pub(crate) struct Store {
    database: Database,
}

/// What was sold of a category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sold {
    pub pieces: u64,
    pub cents: u64,
}

impl Store {
    /// Opens it, and fills in the products when it is new.
    pub(crate) fn open(data: &Path, catalogue: &Catalogue) -> Result<Store, redb::Error> {
        let path = data.join("shop.redb");
        let database = Builder::new().set_cache_size(CACHE_BYTES).create(path)?;
        let write = database.begin_write()?;
        {
            let mut products = write.open_table(PRODUCTS)?;
            for product in &catalogue.products {
                products.insert(product.id, encoded(product).as_slice())?;
            }
            write.open_table(ORDERS)?;
            write.open_table(SALES)?;
        }
        write.commit()?;
        Ok(Store { database })
    }

    /// What a piece costs now.
    pub(crate) fn price_cents(&self, product: u32) -> Result<u64, redb::Error> {
        let products = self.database.begin_read()?.open_table(PRODUCTS)?;
        let product = products
            .get(product)?
            .and_then(|bytes| decoded::<Product>(bytes.value()));
        Ok(product.map_or(0, |product| product.price_cents))
    }

    /// Keeps an order with its sums; gives its number. The oldest one beyond [`ORDERS_KEPT`] goes.
    pub(crate) fn place(&self, order: &Order, catalogue: &Catalogue) -> Result<u64, redb::Error> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::None)?;
        let id;
        {
            let mut orders = write.open_table(ORDERS)?;
            id = orders.last()?.map_or(1, |(last, _)| last.value() + 1);
            orders.insert(id, encoded(order).as_slice())?;
            if let Some(old) = id.checked_sub(ORDERS_KEPT) {
                orders.remove(old)?;
            }
            let mut sales = write.open_table(SALES)?;
            for line in &order.lines {
                let Ok(product) = catalogue.product(line.product) else {
                    continue;
                };
                let category = product.category.as_str();
                let (pieces, cents) = sales.get(category)?.map_or((0, 0), |sold| sold.value());
                let more = (
                    u64::from(line.quantity),
                    line.price_cents * u64::from(line.quantity),
                );
                sales.insert(category, (pieces + more.0, cents + more.1))?;
            }
        }
        write.commit()?;
        Ok(id)
    }

    pub(crate) fn order(&self, id: u64) -> Result<Option<Order>, redb::Error> {
        let orders = self.database.begin_read()?.open_table(ORDERS)?;
        Ok(orders.get(id)?.and_then(|bytes| decoded(bytes.value())))
    }

    /// From the sums.
    pub(crate) fn sold(&self, category: &str) -> Result<Sold, redb::Error> {
        let sales = self.database.begin_read()?.open_table(SALES)?;
        let sold = sales.get(category)?.map(|sold| sold.value());
        Ok(sold.map_or(Sold::default(), |(pieces, cents)| Sold { pieces, cents }))
    }

    /// [`crate::defects::Defect::SlowQuery`]: from the orders themselves, all of them, with the product
    /// of every line looked up on its way.
    pub(crate) fn sold_by_reading_orders(&self, category: &str) -> Result<Sold, redb::Error> {
        let read = self.database.begin_read()?;
        let (orders, products) = (read.open_table(ORDERS)?, read.open_table(PRODUCTS)?);
        let mut sold = Sold::default();
        for entry in orders.iter()? {
            let (_, bytes) = entry?;
            let order = decoded::<Order>(bytes.value());
            for line in order.into_iter().flat_map(|order| order.lines) {
                let product = products.get(line.product)?;
                let product = product.and_then(|bytes| decoded::<Product>(bytes.value()));
                if product.is_some_and(|product| product.category == category) {
                    sold.pieces += u64::from(line.quantity);
                    sold.cents += line.price_cents * u64::from(line.quantity);
                }
            }
        }
        Ok(sold)
    }

    /// What was placed so far is on disk afterwards.
    pub(crate) fn flush(&self) -> Result<(), redb::Error> {
        self.database.begin_write()?.commit()?;
        Ok(())
    }
}

/// Until the process ends.
pub(crate) async fn flush_regularly(shop: Arc<Shop>) {
    loop {
        tokio::time::sleep(FLUSH_EVERY).await;
        let shop = shop.clone();
        let flushed = tokio::task::spawn_blocking(move || shop.store.flush()).await;
        if let Ok(Err(error)) = flushed {
            log::error(&format!("database: {error}"));
        }
    }
}

fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    // Numbers, texts and lists of them always encode.
    serde_json::to_vec(value).unwrap_or_default()
}

fn decoded<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
