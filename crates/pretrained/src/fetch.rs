//! From a name to a file.

use std::{fs, path::PathBuf};

use crate::{
    address::Address,
    cache::{CacheFiles, sha256},
    catalog::{PretrainedWeights, find},
    client::Client,
    download::{Progress, download},
    error::Error,
    options::Options,
};

/// The path of the file with the weights of this name, which is fetched if it is not in the cache
/// folder.
///
/// The file is checked against its hash at every call. A corrupt one is fetched again. A download
/// that broke off is resumed at the next call. Several processes may call this at the same time:
/// one of them fetches the file, the others wait for it. Messages go to the [`log`] crate.
///
/// # Errors
///
/// Says what failed: see [`Error`].
pub fn fetch(
    name: &str,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, Error> {
    fetch_weights(find(name)?, options, progress)
}

pub(crate) fn fetch_weights(
    weights: &PretrainedWeights,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, Error> {
    let files = CacheFiles::of(weights, &options.folder);
    let address = options.address(weights.file);
    let cached = files.hash()?;
    if cached.as_deref() == Some(weights.sha256) {
        return Ok(files.file);
    }
    if options.offline {
        return Err(match cached {
            None => Error::Offline {
                name: weights.name,
                address: address.to_string(),
                folder: options.folder.clone(),
            },
            Some(_) => Error::Corrupt {
                path: files.file,
                address: address.to_string(),
            },
        });
    }
    let client = Client::new(options)?;
    fs::create_dir_all(&options.folder).map_err(Error::io(&options.folder))?;
    let _lock = files.lock(weights.name)?;
    // Another process may have fetched it before the lock was free.
    match files.hash()? {
        Some(hash) if hash == weights.sha256 => return Ok(files.file),
        Some(hash) => {
            let path = files.file.display();
            log::warn!("{path} is corrupt (its SHA-256 is {hash}) and is fetched again");
        }
        None => {}
    }
    log::info!(
        "{}: fetching {address} into {}",
        weights.name,
        options.folder.display()
    );
    let resumed = fs::metadata(&files.part).is_ok_and(|metadata| metadata.len() > 0);
    let get = |progress: &mut dyn FnMut(Progress)| {
        download(&client, &address, weights, &files.part, progress)?;
        check(weights, &address, &files)
    };
    match get(progress) {
        // The bytes of the earlier download may be those of another file.
        Err(Error::Hash { .. }) if resumed => {
            log::warn!("{address}: the resumed download is corrupt; starting over");
            get(progress)?;
        }
        done => done?,
    }
    fs::rename(&files.part, &files.file).map_err(Error::io(&files.file))?;
    Ok(files.file)
}

/// Removes the downloaded file if it is not the published one.
fn check(weights: &PretrainedWeights, address: &Address, files: &CacheFiles) -> Result<(), Error> {
    let found = sha256(&files.part)?;
    if found == weights.sha256 {
        return Ok(());
    }
    fs::remove_file(&files.part).map_err(Error::io(&files.part))?;
    Err(Error::Hash {
        address: address.to_string(),
        expected: weights.sha256,
        found,
    })
}
