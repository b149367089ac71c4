#![no_main]

use fcos_burn::data::Animation;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let path = std::env::temp_dir().join(format!("fcos-burn-animation-{}", std::process::id()));
    std::fs::write(&path, file).expect("the temporary folder is writable");
    if let Ok(frames) = Animation::open(&path) {
        frames.take(100).for_each(drop);
    }
});
