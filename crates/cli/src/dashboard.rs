//! The terminal under burn-train's dashboard.

use std::{
    io::{self, Write},
    sync::OnceLock,
    thread,
    time::Duration,
};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

/// The value of a special code that no key has (`_POSIX_VDISABLE`).
const NO_KEY: u8 = if cfg!(any(target_os = "linux", target_os = "android")) {
    0
} else {
    0xFF
};

/// How the terminal was before the dashboard.
static BEFORE: OnceLock<Termios> = OnceLock::new();

/// Keeps Ctrl-C a signal from now on. The dashboard sets the terminal to raw mode, in which Ctrl-C is a key, and
/// ignores that key.
///
/// # Errors
///
/// Fails if standard output is not a terminal, or if no thread can be started.
pub fn keep_interrupt_key() -> io::Result<()> {
    let before = tcgetattr(io::stdout())?;
    let _ = BEFORE.set(before);
    // The dashboard starts later, on a thread of its own, and may set the mode again.
    let watch = || {
        while let Ok(mut terminal) = tcgetattr(io::stdout()) {
            if !terminal.local_modes.contains(LocalModes::ISIG) {
                terminal.local_modes.insert(LocalModes::ISIG);
                // Ctrl-\ and Ctrl-Z stay keys: they would end or stop the program without leaving the dashboard.
                for key in [SpecialCodeIndex::VQUIT, SpecialCodeIndex::VSUSP] {
                    terminal.special_codes[key] = NO_KEY;
                }
                let _ = tcsetattr(io::stdout(), OptionalActions::Now, &terminal);
            }
            thread::sleep(Duration::from_millis(100));
        }
    };
    thread::Builder::new()
        .name("interrupt-key".to_owned())
        .spawn(watch)
        .map(drop)
}

/// Leaves the dashboard if it is shown, for an exit that does not let it end.
pub fn leave() {
    let is_raw = |now: Termios| !now.local_modes.contains(LocalModes::ICANON);
    let Some(before) = (BEFORE.get()).filter(|_| tcgetattr(io::stdout()).is_ok_and(is_raw)) else {
        return;
    };
    // No mouse events, the main screen, a visible cursor.
    let mut out = io::stdout();
    let _ = out
        .write_all(b"\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1049l\x1b[?25h");
    let _ = out.flush();
    let _ = tcsetattr(out, OptionalActions::Now, before);
}
