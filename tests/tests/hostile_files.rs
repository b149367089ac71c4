//! No file, however it is made, may stop a program in another way than by an error: the
//! findings of fuzzing, and damage done to whole files.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use burn::{
    store::{ModuleSnapshot, bridge},
    tensor::Device,
};
use fcos_burn_tests::readers::{Kind, Reader, tiny};
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, tensor::TensorView};

/// A file that is whole, or one that fuzzing found.
struct Sample {
    name: String,
    bytes: Vec<u8>,
    whole: bool,
}

fn samples(kind: Kind) -> Vec<Sample> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut samples = Vec::new();
    let mut add = |path: &Path, whole: bool| {
        samples.push(Sample {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            bytes: fs::read(path).unwrap(),
            whole,
        });
    };
    let folder = fixtures.join("hostile").join(kind.name());
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let whole = entry.file_name().to_string_lossy().starts_with("valid");
        add(&entry.path(), whole);
    }
    if kind == Kind::Weights {
        for name in ["checkpoint.pth", "legacy.pth"] {
            add(&fixtures.join(name), true);
        }
        let dir = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let own = dir.path().join("own.bpk");
        tiny().init(&device).unwrap().save(&own).unwrap();
        add(&own, true);
        let other = dir.path().join("own.safetensors");
        let tensors = tiny().init(&device).unwrap().collect(None, None, true);
        let data = tensors.into_iter().map(|tensor| {
            let (name, data) = (tensor.name.clone(), bridge::into_data(tensor).unwrap());
            (
                name,
                data.shape().as_slice().to_vec(),
                data.as_bytes().to_vec(),
            )
        });
        let data: Vec<_> = data.collect();
        let views = data.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (name, view.unwrap())
        });
        safetensors::serialize_to_file(views, None, &other).unwrap();
        add(&other, true);
    }
    samples
}

#[test]
fn whole_files_are_read_and_others_in_no_time() {
    for kind in Kind::ALL {
        let reader = Reader::new(kind).unwrap();
        let samples = samples(kind);
        assert!(samples.iter().any(|sample| sample.whole), "{kind:?}");
        for Sample { name, bytes, whole } in samples {
            let started = Instant::now();
            let result = reader.read(&bytes);
            let took = started.elapsed();
            assert!(took < Duration::from_secs(5), "{name} took {took:?}");
            assert!(!whole || result.is_ok(), "{name}: {}", result.unwrap_err());
        }
    }
}

#[test]
fn damaged_files_are_read_or_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for kind in Kind::ALL {
        let reader = Reader::new(kind).unwrap();
        for sample in samples(kind).into_iter().filter(|sample| sample.whole) {
            for _ in 0..200 {
                // Either way, but without a panic.
                let _ = reader.read(&damage(sample.bytes.clone(), &mut rng));
            }
        }
    }
}

/// Cuts, repeats, or replaces what stands in a few places; mostly where files say what
/// is in them, at their start.
fn damage(mut bytes: Vec<u8>, rng: &mut ChaCha8Rng) -> Vec<u8> {
    const VALUES: [&[u8]; 10] = [
        b"\0",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"-1",
        b"1e308",
        b"99999999999999999999",
        b"{",
        b"]",
        b"<",
        b"nan",
        b"../",
    ];
    for _ in 0..rng.random_range(1..4) {
        let reach = match rng.random_bool(0.5) {
            true => bytes.len().min(4096),
            false => bytes.len(),
        };
        if reach == 0 {
            break;
        }
        let at = rng.random_range(0..reach);
        let end = (at + rng.random_range(1..64)).min(bytes.len());
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let value = VALUES.choose(rng).unwrap().to_vec();
                bytes.splice(at..at, value);
            }
        }
    }
    bytes
}
