//! The server's one binary: command line, configuration, first start, admin socket, metrics, and
//! the wiring of a node.

pub mod admin;
pub mod certificates;
pub mod cli;
mod cluster;
pub mod commands;
pub mod config;
mod demo;
pub mod exit;
pub mod home;
pub mod http;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod node;
pub mod password;
pub mod process;
pub mod secrets;
