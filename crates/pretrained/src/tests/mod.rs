//! Fetching from a server on this machine.
#![allow(clippy::unwrap_used)]

mod server;

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use self::server::{Answer, Request, Server};
use crate::{
    Error, Network, Options, PretrainedWeights, Progress, State, fetch::fetch_weights, state,
};

/// A file that is longer than the buffers of a connection.
const LENGTH: usize = 3_000_000;

fn content() -> Vec<u8> {
    (0..LENGTH as u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// Weights whose file has [`content`].
fn weights() -> PretrainedWeights {
    let hash = Sha256::digest(content());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    PretrainedWeights {
        name: "test/network",
        network: Network::Backbone,
        trained_on: "numbers",
        accuracy: "",
        license: "MIT",
        file: "network.pth",
        size: LENGTH as u64,
        sha256: hash.leak(),
    }
}

/// A cache folder and a server.
struct Setup {
    folder: TempDir,
    server: Server,
}

impl Setup {
    /// `answer` gets the number of the request, from 0.
    fn new(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            server: Server::start(answer),
        }
    }

    fn options(&self) -> Options {
        Options::new(self.folder.path().to_owned()).with_source(self.server.address())
    }

    fn fetch(&self) -> Result<PathBuf, Error> {
        fetch_weights(&weights(), &self.options(), &mut |_| {})
    }

    fn error(&self) -> String {
        self.fetch().unwrap_err().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn part(&self) -> PathBuf {
        self.path("network.pth.part")
    }

    /// The positions at which the requests started.
    fn starts(&self) -> Vec<usize> {
        let requests = self.server.requests();
        requests.iter().map(Request::start).collect()
    }
}

fn assert_fetched(path: &Path) {
    assert!(fs::read(path).unwrap() == content());
}

#[test]
fn a_file_is_fetched_once() {
    let setup = Setup::new(|_, request| Answer::part(request, &content()));
    assert_eq!(state(&weights(), &setup.options()), State::Missing);
    let mut seen = Vec::new();
    let path = fetch_weights(&weights(), &setup.options(), &mut |progress| {
        seen.push(progress);
    });
    let path = path.unwrap();
    assert_eq!(path, setup.path("network.pth"));
    assert_fetched(&path);
    let total = LENGTH as u64;
    let last = Progress {
        received: total,
        total,
    };
    assert_eq!(seen.last(), Some(&last));
    assert!(seen.is_sorted_by(|a, b| a.received < b.received && a.total == b.total));
    assert_eq!(state(&weights(), &setup.options()), State::Cached);

    assert_eq!(setup.fetch().unwrap(), path);
    let requests = setup.server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/models/network.pth");
    assert!(!setup.part().exists());
}

#[test]
fn a_file_with_another_hash_is_refused() {
    let setup = Setup::new(|_, request| {
        let mut other = content();
        other[LENGTH / 2] ^= 1;
        Answer::part(request, &other)
    });
    let error = setup.error();
    assert!(error.contains("/models/network.pth is not"), "{error}");
    assert!(error.contains(weights().sha256), "{error}");
    assert!(!setup.path("network.pth").exists());
    assert!(!setup.part().exists());
}

#[test]
fn a_connection_that_breaks_off_is_resumed() {
    let setup = Setup::new(|index, request| {
        let answer = Answer::part(request, &content());
        match index {
            0 => answer.cut_after(1_000_000),
            1 => answer.cut_after(500_000),
            _ => answer,
        }
    });
    assert_fetched(&setup.fetch().unwrap());
    let starts = setup.starts();
    assert_eq!(starts[0], 0);
    assert_eq!(starts.len(), 3);
    assert!(starts.is_sorted_by(|a, b| a < b), "{starts:?}");
    assert!(starts[2] <= 1_500_000, "{starts:?}");
}

#[test]
fn a_download_of_unstated_length_that_breaks_off_is_resumed() {
    let setup = Setup::new(|index, request| match index {
        0 => Answer::without_length(&content()).cut_after(1_000_000),
        _ => Answer::part(request, &content()),
    });
    assert_fetched(&setup.fetch().unwrap());
    let starts = setup.starts();
    assert!(starts.len() == 2 && starts[1] > 0, "{starts:?}");
}

#[test]
fn a_server_that_stalls_is_asked_again() {
    let setup = Setup::new(|index, request| {
        let answer = Answer::part(request, &content());
        match index {
            0 => answer.stall_after(1_000_000, Duration::from_secs(20)),
            _ => answer,
        }
    });
    assert_fetched(&setup.fetch().unwrap());
    assert_eq!(setup.starts().len(), 2);
}

#[test]
fn a_later_call_resumes_an_earlier_one() {
    let setup = Setup::new(|index, request| {
        let answer = Answer::part(request, &content());
        match index {
            0 => answer.cut_after(1_000_000),
            1 => Answer::status(503),
            _ => answer,
        }
    });
    let error = setup.error();
    assert!(error.contains("503"), "{error}");
    let kept = fs::metadata(setup.part()).unwrap().len();
    assert!(kept > 0 && kept <= 1_000_000);
    assert_eq!(state(&weights(), &setup.options()), State::Partial(kept));
    assert_fetched(&setup.fetch().unwrap());
    assert_eq!(setup.starts()[2], kept as usize);
    assert!(!setup.part().exists());
}

#[test]
fn a_connection_that_breaks_off_again_and_again_keeps_what_it_has() {
    let setup = Setup::new(|index, request| {
        Answer::part(request, &content()).cut_after(if index == 0 { 1_000_000 } else { 0 })
    });
    let error = setup.error();
    let kept = fs::metadata(setup.part()).unwrap().len();
    assert!(kept > 0);
    assert!(error.contains(&format!("{kept} bytes are kept")), "{error}");
    assert_eq!(setup.starts().len(), 2);
}

#[test]
fn a_server_that_sends_only_whole_files_starts_over() {
    let setup = Setup::new(|index, _| {
        let answer = Answer::whole(&content());
        match index {
            0 => answer.cut_after(1_000_000),
            _ => answer,
        }
    });
    assert_fetched(&setup.fetch().unwrap());
    let starts = setup.starts();
    assert!(starts.len() == 2 && starts[1] > 0, "{starts:?}");
}

#[test]
fn a_server_that_sends_another_part_starts_over() {
    let setup = Setup::new(|_, request| match request.start() {
        0 => Answer::whole(&content()),
        start => Answer::from(start / 2, &content()),
    });
    fs::write(setup.part(), &content()[..1000]).unwrap();
    assert_fetched(&setup.fetch().unwrap());
    assert_eq!(setup.starts(), [1000, 0]);
}

#[test]
fn remains_of_another_file_are_replaced() {
    let setup = Setup::new(|_, request| Answer::part(request, &content()));
    fs::write(setup.part(), vec![7; 1000]).unwrap();
    assert_fetched(&setup.fetch().unwrap());
    assert_eq!(setup.starts(), [1000, 0]);
}

#[test]
fn remains_that_are_complete_or_too_long_need_no_bytes_or_all() {
    let setup = Setup::new(|_, request| Answer::part(request, &content()));
    fs::write(setup.part(), content()).unwrap();
    assert_fetched(&setup.fetch().unwrap());
    assert_eq!(setup.starts(), [LENGTH]);

    fs::remove_file(setup.path("network.pth")).unwrap();
    fs::write(setup.part(), vec![7; LENGTH + 1]).unwrap();
    assert_fetched(&setup.fetch().unwrap());
    assert_eq!(setup.starts(), [LENGTH, LENGTH + 1, 0]);
}

#[test]
fn a_file_of_another_size_is_refused_at_once() {
    let setup = Setup::new(|index, _| match index {
        // The page of a network that wants a login first.
        0 => Answer::whole(b"<html>please log in</html>"),
        _ => Answer::without_length(&[content(), content()].concat()),
    });
    fs::write(setup.part(), &content()[..1000]).unwrap();
    let error = setup.error();
    assert!(error.contains("it has 26, not 3000000 bytes"), "{error}");
    assert_eq!(fs::read(setup.part()).unwrap(), &content()[..1000]);

    let error = setup.error();
    assert!(error.contains("it has more than 30"), "{error}");
    assert!(!setup.part().exists());
}

#[test]
fn a_missing_file_is_named() {
    let setup = Setup::new(|_, _| Answer::status(404));
    let error = setup.error();
    let address = format!("{}/network.pth", setup.server.address());
    assert!(error.contains(&address), "{error}");
    assert!(error.contains("404 Not Found"), "{error}");
}

#[test]
fn a_server_that_is_down_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let options = Options::new(folder.path().to_owned()).with_source(&address);
    let error = fetch_weights(&weights(), &options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Connection { kept: 0, .. }));
    assert!(error.to_string().contains(&address), "{error}");
}

#[test]
fn redirects_are_followed() {
    let setup = Setup::new(|_, request| match request.path.as_str() {
        "/models/network.pth" => Answer::redirect("/elsewhere/network.pth"),
        _ => Answer::part(request, &content()),
    });
    fs::write(setup.part(), &content()[..1000]).unwrap();
    assert_fetched(&setup.fetch().unwrap());
    assert_eq!(setup.starts(), [1000, 1000]);
}

#[test]
fn redirects_in_a_circle_end() {
    let setup = Setup::new(|_, _| Answer::redirect("/models/network.pth"));
    let error = setup.error();
    assert!(error.contains("redirects"), "{error}");
}

#[test]
fn a_corrupt_file_in_the_cache_is_fetched_again() {
    let setup = Setup::new(|_, request| Answer::part(request, &content()));
    let path = setup.path("network.pth");
    let mut corrupt = content();
    corrupt[0] ^= 1;
    fs::write(&path, corrupt).unwrap();
    let offline = setup.options().with_offline(true);
    let error = fetch_weights(&weights(), &offline, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }));
    assert!(error.to_string().contains("network.pth is corrupt"));
    assert_eq!(setup.fetch().unwrap(), path);
    assert_fetched(&path);
    fetch_weights(&weights(), &offline, &mut |_| {}).unwrap();
}

#[test]
fn nothing_is_fetched_offline() {
    let setup = Setup::new(|_, request| Answer::part(request, &content()));
    let offline = setup.options().with_offline(true);
    let error = fetch_weights(&weights(), &offline, &mut |_| {}).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("test/network"), "{error}");
    assert!(
        error.contains(&setup.folder.path().display().to_string()),
        "{error}"
    );
    assert_eq!(setup.starts().len(), 0);
}

#[test]
fn a_cache_folder_without_write_access_serves_what_it_has() {
    let setup = Setup::new(|_, request| Answer::part(request, &content()));
    setup.fetch().unwrap();
    fs::remove_file(setup.path("network.pth.lock")).unwrap();
    // Neither the lock nor the part could be created.
    fs::create_dir(setup.path("network.pth.lock")).unwrap();
    fs::create_dir(setup.part()).unwrap();
    assert_fetched(&setup.fetch().unwrap());

    fs::remove_file(setup.path("network.pth")).unwrap();
    let error = setup.error();
    assert!(error.contains("network.pth.lock"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named() {
    let setup = Setup::new(|_, request| Answer::part(request, &content()));
    std::os::unix::fs::symlink("/dev/full", setup.part()).unwrap();
    let error = setup.error();
    assert!(error.contains("network.pth.part"), "{error}");
    assert!(error.contains("No space left"), "{error}");
}

#[test]
fn addresses_without_https_are_refused_unless_they_are_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    for (address, cause) in [
        ("http://example.com/models", "only HTTPS"),
        ("http://127.0.0.1.example.com", "only HTTPS"),
        ("ftp://127.0.0.1/models", "not a web address"),
    ] {
        let options = Options::new(folder.path().to_owned()).with_source(address);
        let error = fetch_weights(&weights(), &options, &mut |_| {}).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(address), "{error}");
        assert!(error.contains(cause), "{address}: {error}");
    }
    // A query may be a password, and the name of a file cannot follow it.
    for address in [
        "https://host/models?token=secret",
        "https://host/models#secret",
    ] {
        let options = Options::new(folder.path().to_owned()).with_source(address);
        let error = fetch_weights(&weights(), &options, &mut |_| {}).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("https://host/models: not the address of a folder"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
    // Any part of a malformed address may be a password.
    for address in ["https://", "/models", "no address at all"] {
        let options = Options::new(folder.path().to_owned()).with_source(address);
        let error = fetch_weights(&weights(), &options, &mut |_| {}).unwrap_err();
        let cause = "the address: not a web address";
        assert!(error.to_string().contains(cause), "{address}: {error}");
    }
    for address in ["http://localhost:1", "http://[::1]:1", "http://127.0.0.2:1"] {
        let options = Options::new(folder.path().to_owned()).with_source(address);
        let error = fetch_weights(&weights(), &options, &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::Connection { .. }), "{error}");
    }
}

#[test]
fn threads_that_fetch_at_once_share_one_download() {
    let setup = Setup::new(|_, request| {
        thread::sleep(Duration::from_millis(300));
        Answer::part(request, &content())
    });
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_fetched(&setup.fetch().unwrap()));
        }
    });
    assert_eq!(setup.starts(), [0]);
}

/// Where the processes of the next test fetch from and to.
const PROCESS: [&str; 2] = ["FCOS_BURN_TEST_SOURCE", "FCOS_BURN_TEST_FOLDER"];

#[test]
fn processes_that_fetch_at_once_share_one_download() {
    if let [Some(source), Some(folder)] = PROCESS.map(env::var_os) {
        let options = Options::new(folder.into()).with_source(source.into_string().unwrap());
        fetch_weights(&weights(), &options, &mut |_| {}).unwrap();
        return;
    }
    let setup = Setup::new(|index, request| {
        thread::sleep(Duration::from_millis(500));
        let answer = Answer::part(request, &content());
        match index {
            0 => answer.cut_after(1_000_000),
            _ => answer,
        }
    });
    let name = "tests::processes_that_fetch_at_once_share_one_download";
    let start = || {
        Command::new(env::current_exe().unwrap())
            .args([name, "--exact"])
            .env(PROCESS[0], setup.server.address())
            .env(PROCESS[1], setup.folder.path())
            .spawn()
            .unwrap()
    };
    for mut process in [start(), start(), start()] {
        assert!(process.wait().unwrap().success());
    }
    assert_fetched(&setup.path("network.pth"));
    let starts = setup.starts();
    assert!(starts.len() == 2 && starts[1] > 0, "{starts:?}");
}
