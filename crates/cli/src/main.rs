//! The program `fcos-burn`.

mod commands;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use fcos_burn::detect::device::keep_freed_memory;
use fcos_burn_cli::terminal;

/// Train, evaluate and run FCOS object detectors.
///
/// Progress goes to standard error, results to standard output. The exit code is 0 on success, 1 on
/// failure, 2 for flags that are unknown, malformed, missing or exclude each other, 130 after Ctrl-C
/// and 143 after SIGTERM.
#[derive(Parser, Debug)]
#[command(name = "fcos-burn", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Train(Box<commands::train::Args>),
    Tune(Box<commands::tune::Args>),
    #[cfg(feature = "inspect")]
    Inspect(commands::inspect::Args),
    Evaluate(commands::evaluate::Args),
    Report(commands::report::Args),
    Detect(commands::detect::Args),
    Export(commands::export::Args),
    Convert(commands::convert::Args),
    #[cfg(feature = "pretrained")]
    Weights(commands::weights::Args),
    #[cfg(feature = "remote")]
    Serve(commands::serve::Args),
    Devices(commands::devices::Args),
    Completions(commands::completions::Args),
    Man(commands::man::Args),
}

fn main() -> ExitCode {
    keep_freed_memory();
    terminal::install_logger();
    terminal::hide_panics_of_lost_devices();
    let command = Cli::parse().command;
    let result = terminal::run_command(|| match command {
        Command::Train(args) => commands::train::run(&args),
        Command::Tune(args) => commands::tune::run(&args),
        #[cfg(feature = "inspect")]
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Evaluate(args) => commands::evaluate::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Detect(args) => commands::detect::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Convert(args) => commands::convert::run(&args),
        #[cfg(feature = "pretrained")]
        Command::Weights(args) => commands::weights::run(&args),
        #[cfg(feature = "remote")]
        Command::Serve(args) => commands::serve::run(&args),
        Command::Devices(args) => commands::devices::run(&args),
        Command::Completions(args) => commands::completions::run(&args, Cli::command()),
        Command::Man(args) => commands::man::run(&args, Cli::command()),
    });
    terminal::exit(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs clap's checks of all flags, conflicts and defaults.
    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
