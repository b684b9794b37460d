//! Building blocks that many protocols share. They read and write; what it means is the modules' to
//! say.

pub mod base64;
pub mod datetime;
pub mod delay;
pub mod disco;
pub mod forms;
pub mod forward;
pub mod hints;
pub mod ids;
pub mod rsm;
