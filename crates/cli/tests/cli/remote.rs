//! Devices of a server in a separate process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use fcos_burn::detect::device::TOKEN_VARIABLE;

use super::*;

const TOKEN: &str = "open sesame";

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    fn start_at(listen: &str) -> Self {
        let mut process = command("serve")
            .args(["--listen", listen])
            .env(TOKEN_VARIABLE, TOKEN)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap();
        assert!(address.starts_with("ws://127.0.0.1:"), "{address}");
        Self { process, address }
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Kills it, and returns what it logged.
    fn stop(mut self) -> String {
        self.process.kill().unwrap();
        let mut log = String::new();
        let mut errors = self.process.stderr.take().unwrap();
        errors.read_to_string(&mut log).unwrap();
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A child process that does not outlive the test.
struct Training(Child);

impl Drop for Training {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Trains for some steps. Returns the rows of the epochs.
fn train(dir: &Path, name: &str, devices: &str, flags: &[&str]) -> serde_json::Value {
    let config = dir.join("tiny.json");
    fs::write(&config, TINY).unwrap();
    let folder = dir.join(name);
    let output = command("train")
        .args([
            "--config",
            path(&config),
            "--epochs",
            "2",
            "--batch-size",
            "2",
        ])
        .args(["--devices", devices, "--output", path(&folder)])
        .args(flags)
        .env(TOKEN_VARIABLE, TOKEN)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let rows = fs::read_to_string(folder.join("metrics.json")).unwrap();
    serde_json::from_str(&rows).unwrap()
}

/// Remote devices, alone and with others, give the losses of the local CPU: the initial weights are
/// drawn locally from the same seed, and each step depends on the gradients of those before.
#[test]
fn training_on_a_server_matches_training_on_the_local_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let (server, second) = (Server::start(), Server::start());
    let (a, b) = (&server.address, &second.address);
    let accumulated = ["--accumulate", "2"];
    let frozen = ["--set", "model.backbone.norm=frozen"];
    for (case, local, flags, remote) in [
        (
            "plain",
            "cpu,cpu",
            &[][..],
            vec![format!("{a},{a}"), format!("cpu,{a}"), format!("{a},{b}")],
        ),
        ("accumulated", "cpu", &accumulated[..], vec![a.clone()]),
        ("frozen", "cpu,cpu", &frozen[..], vec![format!("{a},{b}")]),
    ] {
        let expected = train(dir.path(), case, local, flags);
        for (index, devices) in remote.iter().enumerate() {
            let found = train(dir.path(), &format!("{case}-{index}"), devices, flags);
            for (row, expected) in expected.as_array().unwrap().iter().enumerate() {
                for (metric, expected) in expected["train"].as_object().unwrap() {
                    let found = found[row]["train"][metric].as_f64().unwrap();
                    let expected = expected.as_f64().unwrap();
                    let (error, limit) = match metric.as_str() {
                        // Rounding can change the order of nearly equal scores.
                        "Class accuracy" => ((found - expected).abs(), 0.1),
                        _ => ((found - expected).abs() / expected.abs().max(1e-3), 1e-3),
                    };
                    assert!(
                        error < limit,
                        "{case}, {devices}, epoch {}, {metric}: {found} instead of {expected}",
                        row + 1
                    );
                }
            }
        }
    }
}

#[test]
fn clients_without_the_secret_are_rejected() {
    let server = Server::start();
    assert_fails(
        "train",
        &["--device", &server.address],
        1,
        &[&server.address, "refuses this client", TOKEN_VARIABLE],
    );
    let log = server.stop();
    assert!(log.contains("warning: refused: "), "{log}");
    // Without a secret, on an address that is reachable from other machines.
    let output = command("serve")
        .args(["--listen", "0.0.0.0:0"])
        .env_remove(TOKEN_VARIABLE)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(TOKEN_VARIABLE),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_device_that_the_server_lacks_and_other_servers_are_named() {
    let server = Server::start();
    let missing = format!("{}/7", server.address);
    let output = command("train")
        .args(["--device", &missing])
        .env(TOKEN_VARIABLE, TOKEN)
        .output()
        .unwrap();
    let text = stderr(&output);
    assert!(
        text.contains(&missing) && text.contains("has 1, counting from 0"),
        "{text}"
    );
    // A server of something else.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    assert_fails(
        "train",
        &["--device", &address],
        1,
        &[&address, "not a server of this version"],
    );
}

/// What happens to the server in the middle of a training run.
#[derive(Clone, Copy, Debug)]
enum Accident {
    /// It is asked to stop.
    Stopped,
    /// The process dies.
    Killed,
    /// It stops responding, but its connections stay open.
    Hangs,
}

/// Starts a long training on `devices`, lets the accident happen to `server` once an epoch is
/// complete, and checks how the training ends. Returns its folder.
fn lose(dir: &Path, server: &Server, devices: &str, accident: Accident) -> PathBuf {
    let config = dir.join("tiny.json");
    fs::write(&config, TINY).unwrap();
    let folder = dir.join("run");
    let mut training = command("train")
        .args(["--config", path(&config), "--epochs", "1000"])
        .args(["--devices", devices, "--output", path(&folder)])
        .env(TOKEN_VARIABLE, TOKEN)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = training.stderr.take().unwrap();
    let mut training = Training(training);
    let started = Instant::now();
    while !folder.join("metrics.json").exists() {
        assert!(started.elapsed() < Duration::from_secs(120));
        thread::sleep(Duration::from_millis(20));
    }
    server.signal(match accident {
        Accident::Stopped => "-TERM",
        Accident::Killed => "-KILL",
        Accident::Hangs => "-STOP",
    });
    let lost = Instant::now();
    let mut text = String::new();
    errors.read_to_string(&mut text).unwrap();
    let status = training.0.wait().unwrap();
    let seconds = lost.elapsed().as_secs();
    assert_eq!(status.code(), Some(1), "{text}");
    let (limit, cause) = match accident {
        Accident::Stopped => (15, "it"),
        Accident::Killed => (15, "connection"),
        Accident::Hangs => (45, "it has not answered for"),
    };
    assert!(seconds < limit, "{accident:?}: {seconds} s");
    let errors: Vec<&str> = text.lines().filter(|line| line.contains("error")).collect();
    let [error] = errors[..] else {
        panic!("{accident:?}: {text}");
    };
    for part in [
        &format!("device '{}' was lost: ", server.address),
        cause,
        &format!("--resume {}", folder.display()),
    ] {
        assert!(error.contains(part), "{accident:?}: {error}");
    }
    assert!(!text.contains("panicked"), "{text}");
    folder
}

/// Resumes a run on `devices` until it has completed further epochs.
fn go_on(folder: &Path, devices: &str) {
    let epochs = || -> usize {
        let rows = fs::read_to_string(folder.join("metrics.json")).unwrap();
        let rows: serde_json::Result<Vec<serde_json::Value>> = serde_json::from_str(&rows);
        rows.map_or(0, |rows| rows.len())
    };
    let before = epochs();
    let training = command("train")
        .args(["--resume", path(folder), "--devices", devices])
        .env(TOKEN_VARIABLE, TOKEN)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut training = Training(training);
    let started = Instant::now();
    while epochs() < before + 2 {
        assert!(training.0.try_wait().unwrap().is_none(), "{devices}");
        assert!(started.elapsed() < Duration::from_secs(120), "{devices}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_training_whose_server_dies_ends_and_goes_on_with_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start();
    let address = server.address.clone();
    let folder = lose(dir.path(), &server, &address, Accident::Killed);
    drop(server);
    go_on(&folder, "cpu");
    let listen = address.strip_prefix("ws://").unwrap();
    let _restarted = Server::start_at(listen);
    go_on(&folder, &address);
}

#[test]
fn a_training_whose_second_server_stops_dies_or_hangs_ends() {
    for accident in [Accident::Stopped, Accident::Killed, Accident::Hangs] {
        let dir = tempfile::tempdir().unwrap();
        let servers = [Server::start(), Server::start()];
        let devices = format!("{},{}", servers[0].address, servers[1].address);
        let folder = lose(dir.path(), &servers[1], &devices, accident);
        go_on(&folder, &format!("cpu,{}", servers[0].address));
    }
}

#[test]
fn a_server_that_starts_later_is_awaited() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let dir = tempfile::tempdir().unwrap();
    let late = {
        let listen = listen.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(2));
            Server::start_at(&listen)
        })
    };
    train(
        dir.path(),
        "late",
        &format!("ws://{listen},ws://{listen}"),
        &[],
    );
    drop(late.join().unwrap());
}
