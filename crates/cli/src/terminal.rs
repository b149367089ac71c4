//! What the program writes to the terminal: results to standard output, messages to standard
//! error.

use std::{
    fmt::Display,
    io::{self, Write},
    panic,
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::Error;

/// The crates whose messages are shown; those of drivers and shader compilers are not.
const SHOWN: &str = "fcos_burn";

/// Shows the library's messages as lines on standard error.
pub fn install_logger() {
    static LOGGER: StderrLogger = StderrLogger;
    // Another logger can only be one of a test.
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

/// Writes a line to standard error, without line ends and terminal control sequences that names
/// from files may contain. A reader that has gone away is not an error.
pub fn message(line: impl Display) {
    let line = line.to_string().replace(char::is_control, " ") + "\n";
    // In one write, so that lines of other threads do not come between.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Writes the result of a command to standard output.
///
/// # Errors
///
/// Fails if it cannot be written, as when its reader has gone away.
pub fn print(text: impl Display) -> Result<(), Error> {
    let mut out = io::stdout();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    written.map_err(Error::Output)
}

/// The exit code of a command: 1 with one line on standard error if it failed.
pub fn exit(result: Result<ExitCode, impl Display>) -> ExitCode {
    result.unwrap_or_else(|error| {
        message(format_args!("error: {error}"));
        ExitCode::FAILURE
    })
}

/// Runs `work` without the messages of panics, in whatever thread they occur: a missing driver
/// makes a backend panic, which the library returns as an error.
pub fn without_panic_messages<T>(work: impl FnOnce() -> T) -> T {
    // The hook belongs to the whole process.
    static HOOK: Mutex<()> = Mutex::new(());
    let _guard = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = work();
    panic::set_hook(hook);
    result
}
