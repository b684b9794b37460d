//! What is left of a run: a line of JSON, a table for the terminal, a page with plots.

mod page;
mod row;
mod spread;
mod svg;

pub use page::page;
pub(crate) use row::number;
pub use row::{Promise, Row};
pub(crate) use spread::Spread;
