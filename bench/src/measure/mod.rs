//! What is measured: the server's processes, and distributions of time.

pub mod latency;
pub mod proc;

pub use latency::Latency;
pub use proc::{Cpu, Sample};
