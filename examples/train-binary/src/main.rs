//! A custom training program: `cargo run --release -p example-train-binary -- IMAGES RUN`.

use std::{path::Path, process::ExitCode};

use fcos_burn::{detect::device::keep_freed_memory, prelude::*, train::Error};

fn train(images: &Path, run: &Path) -> Result<Outcome, Error> {
    let mut config = RunConfig::small();
    config.data = DataConfig::folder(images, None, None)?;
    config.input.resize = Resize::Fixed {
        width: 256,
        height: 192,
    };
    Trainer::new().train(config, run)
}

fn main() -> ExitCode {
    // Steps on the CPU take less time if they use the memory of the step before.
    keep_freed_memory();
    let arguments: Vec<String> = std::env::args().collect();
    let [_, images, run] = arguments.as_slice() else {
        eprintln!("usage: example-train-binary IMAGES RUN");
        return ExitCode::from(2);
    };
    match train(Path::new(images), Path::new(run)) {
        Ok(Outcome::Finished(evaluation)) => {
            print!("{}", evaluation.table());
            ExitCode::SUCCESS
        }
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[test]
fn a_folder_that_is_not_a_data_set_is_an_error() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let outcome = train(folder.path(), &folder.path().join("run"));
    let error = outcome.map_err(|error| error.to_string()).err();
    let error = error.unwrap_or_default();
    let expected = format!("{}: not a data set", folder.path().display());
    assert!(error.starts_with(&expected), "{error}");
    Ok(())
}
