//! Why weights could not be fetched.

use std::{io, path::PathBuf};

/// Why weights could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No weights have this name.
    #[error("no pretrained weights are named {name}: did you mean {}?", alternatives(.similar))]
    UnknownName {
        /// The name.
        name: String,
        /// Similar names, or all.
        similar: Vec<&'static str>,
    },
    /// The user has no home folder, so there is no default cache folder.
    #[error(
        "no home folder is set: choose a cache folder with the environment variable {variable}"
    )]
    NoHome {
        /// The variable that sets the folder.
        variable: &'static str,
    },
    /// The weights are not in the cache folder, and must not be fetched.
    #[error("{name} is not in the cache, and fetching is disabled: save {address} in {}", folder.display())]
    Offline {
        /// The name of the weights.
        name: &'static str,
        /// Where the file is.
        address: String,
        /// The cache folder.
        folder: PathBuf,
    },
    /// The file in the cache folder is not the published one, and must not be fetched again.
    #[error("{} is corrupt, and fetching is disabled: replace it with {address}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the file is.
        address: String,
    },
    /// The address of the folder to fetch from cannot be used.
    #[error("cannot fetch weights from {address}: {cause}")]
    Source {
        /// The address.
        address: String,
        /// The cause.
        cause: String,
    },
    /// The connection failed, or broke off.
    #[error("cannot fetch {address}: {cause}{}", resumable(*.kept))]
    Connection {
        /// The address of the file.
        address: String,
        /// The cause.
        cause: String,
        /// How many bytes are kept for the next attempt.
        kept: u64,
    },
    /// The server has no such file, or refuses to send it.
    #[error("cannot fetch {address}: the server answered {status}")]
    Status {
        /// The address of the file.
        address: String,
        /// The status code and its meaning.
        status: String,
    },
    /// The file of the server has another size.
    #[error("{address} is not the published file: it has {found}, not {expected} bytes")]
    Size {
        /// The address of the file.
        address: String,
        /// The published size.
        expected: u64,
        /// The size, or a lower limit.
        found: String,
    },
    /// The file of the server has another hash.
    #[error("{address} is not the published file: its SHA-256 is {found}, not {expected}")]
    Hash {
        /// The address of the file.
        address: String,
        /// The published hash.
        expected: &'static str,
        /// The hash.
        found: String,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

impl Error {
    /// Adds the file or folder to an I/O error.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

fn alternatives(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn resumable(kept: u64) -> String {
    match kept {
        0 => String::new(),
        _ => format!("; {kept} bytes are kept, from where the next attempt resumes"),
    }
}
