//! `fcos-burn completions`.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;
use fcos_burn_cli::{Error, terminal::print};

/// Print completions for a shell, for example
/// `fcos-burn completions bash > ~/.local/share/bash-completion/completions/fcos-burn`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print completions for this shell
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &Args, mut program: Command) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "fcos-burn", &mut script);
    print(String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
