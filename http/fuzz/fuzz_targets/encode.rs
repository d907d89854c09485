//! Responses: no header of a handler makes two of one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use squall_http_fuzz::properties::encode::encode;

fuzz_target!(|data: &[u8]| squall_http_fuzz::run(data, encode));
