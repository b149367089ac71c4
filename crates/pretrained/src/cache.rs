//! Files in the cache folder.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{catalog::PretrainedWeights, error::Error, options::Options};

/// What the cache folder has of some weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Nothing.
    Missing,
    /// The first bytes, so many.
    Partial(u64),
    /// A file of the right size. Its hash is checked when it is used.
    Cached,
}

/// What the cache folder has of `weights`.
pub fn state(weights: &PretrainedWeights, options: &Options) -> State {
    let files = CacheFiles::of(weights, &options.folder);
    let length = |path: &Path| fs::metadata(path).map(|metadata| metadata.len()).ok();
    match (length(&files.file), length(&files.part)) {
        (Some(length), _) if is_size(weights, length) => State::Cached,
        (_, Some(length)) if length > 0 => State::Partial(length),
        _ => State::Missing,
    }
}

/// Whether a file of `weights` may have this length.
pub(crate) fn is_size(weights: &PretrainedWeights, length: u64) -> bool {
    /// Sizes are stated to a thousandth of a MiB.
    const TOLERANCE: u64 = 1024;
    length.abs_diff(weights.size) <= TOLERANCE
}

/// The files of some weights in the cache folder.
pub(crate) struct CacheFiles {
    /// The whole file.
    pub(crate) file: PathBuf,
    /// The first bytes, while they are fetched.
    pub(crate) part: PathBuf,
    /// Locked by the process that fetches.
    lock: PathBuf,
}

impl CacheFiles {
    pub(crate) fn of(weights: &PretrainedWeights, folder: &Path) -> Self {
        let named = |extension: &str| folder.join(format!("{}{extension}", weights.file));
        Self {
            file: named(""),
            part: named(".part"),
            lock: named(".lock"),
        }
    }

    /// The hash of the whole file, if there is one.
    pub(crate) fn hash(&self) -> Result<Option<String>, Error> {
        match sha256(&self.file) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            hash => hash.map(Some),
        }
    }

    /// Waits until no other process fetches these weights. They are locked until the result is
    /// dropped, or the process ends.
    pub(crate) fn lock(&self, name: &str) -> Result<File, Error> {
        let error = || Error::io(&self.lock);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.lock)
            .map_err(error())?;
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                log::info!("{name}: waiting for another process that is fetching it");
                file.lock()
            }
            // Some network file systems have no locks. The hash still reveals mixed downloads.
            Err(TryLockError::Error(_)) | Ok(()) => Ok(()),
        };
        locked.map(|()| file).map_err(error())
    }
}

/// The SHA-256 of a file in hexadecimal digits.
pub(crate) fn sha256(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => hash.update(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(path)(error)),
        }
    }
    let digits = hash.finalize();
    Ok(digits.iter().map(|byte| format!("{byte:02x}")).collect())
}
