//! The properties of `http/tests`, for the fuzz targets: a target gives them bytes, they panic.

#[path = "../../tests/peers/mod.rs"]
pub mod peers;
#[path = "../../tests/properties/mod.rs"]
pub mod properties;
#[path = "../../tests/reference/mod.rs"]
pub mod reference;

use peers::classes::{CHUNK_SIZES, CONNECTIONS, classified};
use peers::{httparse, hyper, squall};
use properties::Conditions;

/// Calls a property with the seed and the bytes that a fuzzer's data hold.
pub fn run(data: &[u8], property: impl FnOnce(Conditions, &[u8])) {
    if let Some((conditions, bytes)) = Conditions::split(data) {
        property(conditions, bytes);
    }
}

/// Compares with httparse and hyper; a difference without a class is a finding.
pub fn differential(bytes: &[u8]) {
    classified("httparse", CONNECTIONS, bytes, &squall::head(bytes), &httparse::head(bytes));
    let (ours, theirs) = (squall::chunk_size(bytes), httparse::chunk_size(bytes));
    classified("httparse", CHUNK_SIZES, bytes, &ours, &theirs);
    classified("hyper", CONNECTIONS, bytes, &squall::story(bytes), &hyper::story(bytes));
}
