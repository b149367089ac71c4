#![no_main]

use std::sync::LazyLock;

use fcos_burn_tests::readers::{Kind, Reader, Refusal};
use libfuzzer_sys::fuzz_target;

static READER: LazyLock<Result<Reader, Refusal>> = LazyLock::new(|| Reader::new(Kind::CreateMl));

fuzz_target!(|file: &[u8]| {
    let reader = READER.as_ref().expect("the reader needs a temporary folder");
    let _ = reader.read(file);
});
