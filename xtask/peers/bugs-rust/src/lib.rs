//! Small modules with one bug each, as they occur in the world, and tests that show it now and then, or
//! always. The causes are in `../bugs.toml`, not here: nobody who looks for one is told by the code.

pub mod audit;
pub mod bank;
pub mod cache;
pub mod export;
pub mod gate;
pub mod hits;
pub mod invoice;
pub mod journal;
pub mod listener;
pub mod plugins;
pub mod pool;
pub mod ports;
pub mod render;
pub mod retention;
pub mod retry;
pub mod sessions;

pub mod ranges;
pub mod roman;
pub mod semver;
pub mod tariff;
