//! How the crate's own words become serde's, behind the feature `serde`. Next: `snapshot::table`.

use std::fmt;

use serde::Serializer;

use crate::stats::Stats;

pub(super) fn words<T: fmt::Debug, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{value:?}"))
}

pub(super) fn text<T: fmt::Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

pub(super) fn counters<S: Serializer>(stats: &Stats, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(stats.iter())
}
