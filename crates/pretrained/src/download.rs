//! Downloads that continue where an earlier one ended.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    path::Path,
};

use crate::{
    address::Address,
    cache::is_size,
    catalog::PretrainedWeights,
    client::{Answer, Bytes, Client, cause},
    error::Error,
};

/// How often a connection may break off.
const ATTEMPTS: usize = 10;

/// How much of a file has been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes received so far, including those of earlier downloads.
    pub received: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// Downloads the file at `address` to `part`, which may have its first bytes. If the connection
/// breaks off after some bytes, it is opened again.
pub(crate) fn download(
    client: &Client,
    address: &Address,
    weights: &PretrainedWeights,
    part: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), Error> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(part)
        .map_err(Error::io(part))?;
    for attempt in 1.. {
        let kept = file.metadata().map_err(Error::io(part))?.len();
        let bytes = match client.request(address, kept)? {
            Answer::Complete => break,
            Answer::Bytes(bytes) => bytes,
        };
        if let Some(total) = bytes.total
            && !is_size(weights, total)
        {
            return Err(other_size(address, weights, total.to_string()));
        }
        let start = bytes.start;
        go_to(&mut file, start, kept).map_err(Error::io(part))?;
        let mut end = start;
        match receive(bytes, &mut file, weights, &mut end, progress) {
            Ok(()) => break,
            Err(Broken::Read(cause)) if end > start && attempt < ATTEMPTS => {
                log::info!("{address}: {cause} after {end} bytes; resuming");
            }
            Err(Broken::Read(cause)) => {
                return Err(Error::Connection {
                    address: address.to_string(),
                    cause,
                    kept: end,
                });
            }
            Err(Broken::Write(error)) => return Err(Error::io(part)(error)),
            Err(Broken::TooLong) => {
                drop(file);
                fs::remove_file(part).map_err(Error::io(part))?;
                return Err(other_size(address, weights, format!("more than {end}")));
            }
        }
    }
    file.sync_all().map_err(Error::io(part))
}

/// Why a download ended early.
enum Broken {
    /// The server sent no more.
    Read(String),
    /// The file could not be written.
    Write(std::io::Error),
    /// There are more bytes than the file has.
    TooLong,
}

/// Prepares the file, which has `length` bytes, for those from `start`.
fn go_to(file: &mut File, start: u64, length: u64) -> std::io::Result<()> {
    if start < length {
        file.set_len(start)?;
    }
    file.seek(SeekFrom::Start(start)).map(drop)
}

/// Writes the bytes to the file, and sets `end` to the position of the last one.
fn receive(
    mut bytes: Bytes,
    file: &mut File,
    weights: &PretrainedWeights,
    end: &mut u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), Broken> {
    let total = bytes.total.unwrap_or(weights.size);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = match bytes.reader.read(&mut buffer) {
            Ok(0) if is_size(weights, *end) => return Ok(()),
            // A body of unstated length that ends early.
            Ok(0) => return Err(Broken::Read("the connection was closed".to_owned())),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Broken::Read(cause(error.into()))),
        };
        file.write_all(&buffer[..length]).map_err(Broken::Write)?;
        *end += length as u64;
        if *end > weights.size && !is_size(weights, *end) {
            return Err(Broken::TooLong);
        }
        progress(Progress {
            received: *end,
            total,
        });
    }
}

fn other_size(address: &Address, weights: &PretrainedWeights, found: String) -> Error {
    Error::Size {
        address: address.to_string(),
        expected: weights.size,
        found,
    }
}
