//! Training on a device chosen at run time, such as `cpu`, `cuda:1`, `wgpu` or `ws://HOST:PORT`:
//! `cargo run --release -p example-any-device --features wgpu -- wgpu`.

use std::{path::Path, process::ExitCode};

use fcos_burn::{detect::device::available, prelude::*};

fn train(device: DeviceName, run: &Path) -> Result<Outcome, fcos_burn::train::Error> {
    Trainer::new()
        .with_devices(vec![device])
        .train(RunConfig::small(), run)
}

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_else(|| "cpu".to_owned());
    let outcome = name
        .parse()
        .map_err(fcos_burn::train::Error::from)
        .and_then(|device| train(device, Path::new("runs/any-device")));
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}\n\navailable devices:");
            available().iter().for_each(|backend| eprint!("{backend}"));
            ExitCode::FAILURE
        }
    }
}

#[test]
fn an_unavailable_device_is_an_error() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let error = train("cpu:7".parse()?, folder.path()).err();
    let error = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("cpu:7"), "{error}");
    Ok(())
}
