//! The properties of `http/tests`, for the fuzz targets: a target gives them bytes, they panic.

#[path = "../../tests/properties/mod.rs"]
pub mod properties;
#[path = "../../tests/reference/mod.rs"]
pub mod reference;

use properties::Conditions;

/// Calls a property with the seed and the bytes that a fuzzer's data hold.
pub fn run(data: &[u8], property: impl FnOnce(Conditions, &[u8])) {
    if let Some((conditions, bytes)) = Conditions::split(data) {
        property(conditions, bytes);
    }
}
