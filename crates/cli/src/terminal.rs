//! Output of the program: results on standard output, messages on standard error.

use std::{
    fmt::Display,
    io::{self, Write},
    panic,
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use fcos_burn::detect::device::{any_lost, naming_loss};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::Error;

/// The prefix of the crates whose messages are shown, unlike those of drivers and shader compilers.
const SHOWN: &str = "fcos_burn";

/// Prints log messages of the library to standard error.
pub fn install_logger() {
    static LOGGER: StderrLogger = StderrLogger;
    // Fails only if a test has installed a logger.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

struct StderrLogger;

impl Log for StderrLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info && metadata.target().starts_with(SHOWN)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            match record.level() {
                Level::Error => message(format_args!("error: {}", record.args())),
                Level::Warn => message(format_args!("warning: {}", record.args())),
                _ => message(record.args()),
            }
        }
    }

    fn flush(&self) {}
}

/// Writes a line to standard error, without control characters that names from files may contain.
/// A closed standard error is ignored.
pub fn message(line: impl Display) {
    let line = line.to_string().replace(char::is_control, " ") + "\n";
    // A single write keeps lines of other threads from interleaving.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Writes the result of a command to standard output.
///
/// # Errors
///
/// Fails if standard output cannot be written, for instance because it is closed.
pub fn print(text: impl Display) -> Result<(), Error> {
    let mut out = io::stdout();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    written.map_err(Error::Output)
}

/// The exit code of a command. An error is printed on one line and gives 1.
pub fn exit(result: Result<ExitCode, impl Display>) -> ExitCode {
    result.unwrap_or_else(|error| {
        message(format_args!("error: {error}"));
        ExitCode::FAILURE
    })
}

/// From now on, panics are not shown if a device of another machine is lost: that causes them, and
/// the command fails with an error that names the device.
pub fn hide_panics_of_lost_devices() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if any_lost().is_none() {
            hook(info);
        }
    }));
}

/// Runs a command. If a device of another machine is lost meanwhile, the command fails with the
/// error that names it, even if it panics.
///
/// # Errors
///
/// Those of the command.
pub fn run_command<T>(command: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    naming_loss(command, |error| match error {
        Some(error) if error.is_lost_device() => None,
        _ => any_lost(),
    })
}

/// Runs `work` without panic messages from any thread: backends panic if a driver is missing, and
/// the library returns that as an error.
pub fn without_panic_messages<T>(work: impl FnOnce() -> T) -> T {
    // The hook is global to the process.
    static HOOK: Mutex<()> = Mutex::new(());
    let _guard = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = work();
    panic::set_hook(hook);
    result
}
