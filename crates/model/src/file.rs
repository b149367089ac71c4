//! Atomic file writing: files that appear whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};

/// Ending of the names of files that are being written.
const PARTIAL: &str = ".partial";

/// Writes a file atomically and durably: at any time, `path` is as it was before or holds
/// all of `bytes`, and it is on the disk when this function returns. The same holds if
/// several threads or processes write `path` at once; the last one wins.
///
/// The bytes are written to a temporary file in the same folder, which is then renamed. A
/// process that is killed in between leaves the temporary file behind (see
/// [`is_partial`]).
///
/// A symbolic link is followed. Pipes, devices and other paths that are not regular files
/// are written in place, and so are `/dev/stdout` and the like. What this process writes to
/// its own standard output stays in order.
///
/// # Errors
///
/// The error of the operating system; `path` is then as it was before.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Opened anew, it would have a position of its own, and what is printed later would overwrite this.
    if is_standard_output(path) {
        let mut output = io::stdout().lock();
        return output.write_all(bytes).and_then(|()| output.flush());
    }
    // Replacing the file that a shell redirects to would detach the shell from it.
    if is_stream(path) || path.is_dir() {
        return File::options().append(true).open(path)?.write_all(bytes);
    }
    let path = fs::canonicalize(path).unwrap_or_else(|_| missing_target(path));
    let mut file = temporary_file(folder_of(&path))?;
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    sync_folder_of(&path);
    Ok(())
}

/// Whether a path is that of an open stream, or of what is neither a file nor a folder, such as a
/// pipe.
pub fn is_stream(path: &Path) -> bool {
    let streams = ["/dev/stdout", "/dev/stderr", "/dev/fd"];
    let is_other = |metadata: fs::Metadata| !metadata.is_file() && !metadata.is_dir();
    streams.iter().any(|stream| path.starts_with(stream)) || fs::metadata(path).is_ok_and(is_other)
}

/// Whether a path is that of this process's standard output.
pub fn is_standard_output(path: &Path) -> bool {
    ["/dev/stdout", "/dev/fd/1"].map(Path::new).contains(&path)
}

/// Where a link that leads to no file yet leads to, or else the path itself.
fn missing_target(path: &Path) -> PathBuf {
    // Longer chains of links are loops.
    const LINKS: usize = 40;
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&target) {
            Ok(next) => target = folder_of(&target).join(next),
            Err(_) => return target,
        }
    }
    path.to_owned()
}

/// A new file in `folder`, which is removed when it is dropped.
fn temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".").suffix(PARTIAL);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Those of other new files, less what the process's mask takes away.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Whether a path has the name of a temporary file of [`write_whole`]: a file with such a
/// name that no process is writing was left behind and may be removed.
pub fn is_partial(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().ends_with(PARTIAL.as_bytes())
}

/// Writes a file, not atomically, that is on the disk when this function returns.
///
/// # Errors
///
/// The error of the operating system.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a new or changed name of a file durable, if the file system supports it.
pub fn sync_folder_of(path: &Path) {
    let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn files_are_replaced_without_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        for text in ["one", "two"] {
            write_whole(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        // A file name of the greatest length.
        let long = dir.path().join("a".repeat(255));
        write_whole(&long, b"text").unwrap();
        assert_eq!(fs::read(&long).unwrap(), b"text");
        assert_eq!(entries(dir.path()), 2);
    }

    #[test]
    fn failures_leave_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        assert!(write_whole(&folder, b"text").is_err());
        assert!(write_whole(&folder.join("no/where"), b"text").is_err());
        // The temporary file can be written, but not renamed.
        assert!(write_whole(&dir.path().join("a".repeat(256)), b"text").is_err());
        assert_eq!((entries(dir.path()), entries(&folder)), (1, 0));
    }

    #[test]
    fn concurrent_writers_leave_one_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        let contents = |writer: u8| vec![writer; 100_000];
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..5 {
                        write_whole(path, &contents(writer)).unwrap();
                        let found = fs::read(path).unwrap();
                        assert_eq!(found, contents(found[0]));
                    }
                });
            }
        });
        assert_eq!(entries(dir.path()), 1);
    }

    #[test]
    fn temporary_files_are_recognized_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = temporary_file(dir.path()).unwrap();
        assert!(is_partial(file.path()));
        assert!(!is_partial(&dir.path().join("data.json")));
    }

    #[cfg(unix)]
    #[test]
    fn new_files_have_the_permissions_of_other_new_files() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str, write: &dyn Fn(&Path) -> io::Result<()>| {
            let path = dir.path().join(name);
            write(&path).unwrap();
            fs::metadata(&path).unwrap().permissions().mode()
        };
        assert_eq!(
            mode("a", &|path| write_whole(path, b"text")),
            mode("b", &|path| fs::write(path, b"text"))
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_written_in_place() {
        use std::os::unix::fs::FileTypeExt;

        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        fs::write(&target, "before").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_whole(&link, b"after").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "after");

        // Shared memory is under /dev, but has regular files.
        let shared = Path::new("/dev/shm");
        if shared.is_dir() {
            let dir = tempfile::tempdir_in(shared).unwrap();
            let path = dir.path().join("a.json");
            for text in ["a long text", "short"] {
                write_whole(&path, text.as_bytes()).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), text);
            }
        }

        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        std::os::unix::fs::symlink("second", &first).unwrap();
        std::os::unix::fs::symlink("new", &second).unwrap();
        write_whole(&first, b"new").unwrap();
        assert!(first.is_symlink() && second.is_symlink());
        assert_eq!(fs::read_to_string(dir.path().join("new")).unwrap(), "new");

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
