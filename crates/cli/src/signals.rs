//! Signals that stop a command.

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

/// The signal that stopped the work.
#[derive(Debug)]
pub struct StopSignal {
    /// Its exit code; 0 until there is one.
    code: Arc<AtomicU8>,
}

impl StopSignal {
    /// Watches for Ctrl-C and SIGTERM. The first signal stops what `interrupter` belongs to
    /// after the current iteration or image, the second exits immediately.
    pub fn watch(interrupter: Interrupter) -> Self {
        let code = Arc::new(AtomicU8::new(0));
        let stop = {
            let code = code.clone();
            move |new| {
                if code.swap(new, Ordering::SeqCst) != 0 {
                    #[cfg(all(unix, feature = "tui"))]
                    crate::dashboard::leave();
                    std::process::exit(new.into());
                }
                // Before the work ends, which has its own message.
                message("stopping soon; press Ctrl-C again to exit immediately");
                interrupter.stop(Some("a signal"));
            }
        };
        if let Err(error) = on_signal(stop) {
            message(format_args!(
                "warning: Ctrl-C will end the program at once: {error}"
            ));
        }
        Self { code }
    }

    /// The conventional exit code after the signal: 130 for Ctrl-C, 143 for SIGTERM.
    pub fn exit_code(&self) -> ExitCode {
        match self.code.load(Ordering::SeqCst) {
            0 => ExitCode::from(CTRL_C),
            code => ExitCode::from(code),
        }
    }
}

/// Calls `stop` on each signal, with its exit code.
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

/// Calls `stop` on each signal, with its exit code.
#[cfg(not(unix))]
fn on_signal(stop: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(move || stop(CTRL_C)).map_err(io::Error::other)
}
