//! Administration of a running server, over a Unix socket in its data folder.

mod client;
pub mod protocol;
mod server;
mod socket;

pub use client::{CallError, Client};
pub use server::{Handler, Server};
