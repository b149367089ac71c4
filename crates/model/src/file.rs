//! Files that appear whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Writes a file that appears whole or not at all, and is on the disk when this returns:
/// it is written to [`partial`], and then renamed.
///
/// Of a link, the file that it leads to is written. What is no regular file, such as a
/// pipe or a device, is written as it is, and so are `/dev/stdout` and its like.
///
/// # Errors
///
/// The operating system's; then `path` is as it was before.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // To replace a redirection's target would part the shell from what it writes to.
    let streams = ["/dev/stdout", "/dev/stderr", "/dev/fd"].map(Path::new);
    let is_stream = streams.iter().any(|stream| path.starts_with(stream));
    if is_stream || path.exists() && !path.is_file() {
        return File::options().append(true).open(path)?.write_all(bytes);
    }
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let partial = partial(&path);
    let written = write_synced(&partial, bytes).and_then(|()| fs::rename(&partial, &path));
    match written {
        Ok(()) => sync_folder_of(&path),
        Err(_) => {
            // A full disk has no room for it.
            let _ = fs::remove_file(&partial);
        }
    }
    written
}

/// Where a file is until it is whole: beside `path`, with `.partial` behind its name.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(".partial");
    path.with_file_name(name)
}

/// Writes a file that is on the disk when this returns.
///
/// # Errors
///
/// The operating system's.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Sees to it that the name of a file, or its new name, is on the disk, where the file
/// system can do that.
pub fn sync_folder_of(path: &Path) {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn files_are_replaced_and_nothing_is_left_beside_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        for text in ["one", "two"] {
            write_whole(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        assert!(write_whole(&folder, b"text").is_err());
        assert!(write_whole(&folder.join("no/where"), b"text").is_err());
        // A name that is free until it gets longer.
        let long = dir.path().join("a".repeat(250));
        assert!(write_whole(&long, b"text").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_stay_what_they_are() {
        use std::os::unix::fs::FileTypeExt;

        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        fs::write(&target, "before").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_whole(&link, b"after").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "after");

        // Shared memory has regular files, though it is among the devices.
        let shared = Path::new("/dev/shm");
        if shared.is_dir() {
            let dir = tempfile::tempdir_in(shared).unwrap();
            let path = dir.path().join("a.json");
            for text in ["a long text", "short"] {
                write_whole(&path, text.as_bytes()).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), text);
            }
        }

        let null = Path::new("/dev/null");
        write_whole(null, b"text").unwrap();
        let kind = fs::metadata(null).unwrap().file_type();
        assert!(kind.is_char_device());
        let null_link = dir.path().join("null");
        std::os::unix::fs::symlink(null, &null_link).unwrap();
        write_whole(&null_link, b"text").unwrap();
        assert!(null_link.is_symlink());
    }
}
