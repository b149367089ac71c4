//! `fcos-burn man`.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Command;
use fcos_burn_cli::{Error, args::output_path, terminal::print};

/// Write the man pages of the program and its commands.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Write the pages to this folder, such as ~/.local/share/man/man1
    #[arg(value_name = "DIR", value_parser = output_path())]
    folder: PathBuf,
}

pub fn run(args: &Args, program: Command) -> Result<ExitCode, Error> {
    fs::create_dir_all(&args.folder).map_err(Error::io(&args.folder))?;
    clap_mangen::generate_to(program, &args.folder).map_err(Error::io(&args.folder))?;
    print(format_args!("{}\n", args.folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
