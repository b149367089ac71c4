//! Signals that end a training.

use std::{
    io,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use fcos_burn::train::Interrupter;

use crate::terminal::message;

/// The exit code after Ctrl-C.
const CTRL_C: u8 = 130;

/// The signal that told a training to end.
#[derive(Debug)]
pub struct StopSignal {
    /// The exit code after it; 0 before there was one.
    code: Arc<AtomicU8>,
}

impl StopSignal {
    /// The first Ctrl-C, or request to terminate, ends the training of `interrupter` after
    /// its iteration, the second the process at once.
    pub fn watch(interrupter: Interrupter) -> Self {
        let code = Arc::new(AtomicU8::new(0));
        let stop = {
            let code = code.clone();
            move |new| {
                if code.swap(new, Ordering::SeqCst) != 0 {
                    std::process::exit(new.into());
                }
                interrupter.stop(Some("a signal"));
                message("stopping after this iteration; Ctrl-C again stops at once");
            }
        };
        if let Err(error) = on_signal(stop) {
            message(format_args!(
                "warning: Ctrl-C will not end the training cleanly: {error}"
            ));
        }
        Self { code }
    }

    /// The exit code of a process that a signal ended, as shells tell it: 130 after Ctrl-C,
    /// 143 after a request to terminate.
    pub fn exit_code(&self) -> ExitCode {
        match self.code.load(Ordering::SeqCst) {
            0 => ExitCode::from(CTRL_C),
            code => ExitCode::from(code),
        }
    }
}

/// Calls `stop` on each signal, with the exit code that belongs to it.
#[cfg(unix)]
fn on_signal(stop: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        iterator::Signals,
    };

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let watch = move || {
        for signal in signals.forever() {
            stop(if signal == SIGINT { CTRL_C } else { 143 });
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watch)
        .map(drop)
}

/// Calls `stop` on each signal, with the exit code that belongs to it.
#[cfg(not(unix))]
fn on_signal(stop: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(move || stop(CTRL_C)).map_err(io::Error::other)
}
