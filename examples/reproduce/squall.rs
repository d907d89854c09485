//! The same server on Squall.
//!
//! Its wrong start is refused: `fork_workers` answers with an error while a reactor lives.
//! Next: `tornado`.

use crate::counters::Counters;
use crate::server::{End, Job};

/// Serves until it is killed.
pub fn serve(_job: &Job, _counters: &Counters) -> Result<(), End> {
    Err(End::Failed("not built yet".to_owned()))
}
