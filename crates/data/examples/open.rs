//! Opens every split of a data set, and prints how long it takes.
//!
//! ```sh
//! cargo run --release -p fcos-burn-data --example open -- my-images
//! ```

use std::{error::Error, time::Instant};

use fcos_burn_data::DataFolder;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1);
    let path = path.ok_or("expected the folder of a data set")?;
    let started = Instant::now();
    let folder = DataFolder::open(path)?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} ({}), recognized in {seconds:.2} s",
        folder.layout(),
        folder.evidence()
    );
    for split in folder.splits() {
        let started = Instant::now();
        let dataset = folder.read(split)?;
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{dataset} in {seconds:.2} s: {:.0} images/s",
            dataset.len() as f64 / seconds
        );
    }
    Ok(())
}
