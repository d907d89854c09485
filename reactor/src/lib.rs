//! An event loop.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod state {
    pub mod wheel;
}
mod sys;
pub mod pool;

pub use error::{Error, Panic, Result};
