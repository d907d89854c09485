//! An event loop.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod sys;
mod signals;
pub mod workers;

pub use error::{Error, Panic, Result};
pub use signals::Signals;
