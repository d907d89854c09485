//! An event loop.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod sys;

pub use error::{Error, Panic, Result};
