#![no_main]

use fcos_burn::data::video::{Y4mReader, Y4mWriter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let Ok(mut reader) = Y4mReader::new(stream, "stream") else {
        return;
    };
    let mut writer =
        Y4mWriter::new(std::io::sink(), "sink", reader.format()).expect("a sink takes a header");
    while let Some(Ok(frame)) = reader.next() {
        writer
            .write(&frame)
            .expect("a sink takes frames of its size");
    }
});
