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

fn train(dir: &Path, name: &str, devices: &str) -> serde_json::Value {
    let config = dir.join("tiny.json");
    fs::write(&config, TINY).unwrap();
    let folder = dir.join(name);
    let output = command("train")
        .args([
            "--config",
            path(&config),
            "--epochs",
            "1",
            "--devices",
            devices,
        ])
        .args(["--output", path(&folder)])
        .env(TOKEN_VARIABLE, TOKEN)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let rows = fs::read_to_string(folder.join("metrics.json")).unwrap();
    serde_json::from_str(&rows).unwrap()
}

/// Two remote devices, and a local with a remote one, give the losses of the local CPU:
/// the initial weights are drawn locally from the same seed.
#[test]
fn training_on_a_server_matches_training_on_the_local_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let (server, second) = (Server::start(), Server::start());
    let expected = train(dir.path(), "local", "cpu,cpu");
    for (name, devices) in [
        ("remote", format!("{0},{0}", server.address)),
        ("both", format!("cpu,{}", server.address)),
        ("two", format!("{},{}", server.address, second.address)),
    ] {
        let found = train(dir.path(), name, &devices);
        for (metric, expected) in expected[0]["train"].as_object().unwrap() {
            let found = found[0]["train"][metric].as_f64().unwrap();
            let expected = expected.as_f64().unwrap();
            let (error, limit) = match metric.as_str() {
                // Rounding can change the order of nearly equal scores.
                "Class accuracy" => ((found - expected).abs(), 0.1),
                _ => ((found - expected).abs() / expected.abs().max(1e-3), 1e-4),
            };
            assert!(
                error < limit,
                "{devices}, {metric}: {found} instead of {expected}"
            );
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

/// What happens to the server in the middle of a training.
#[derive(Clone, Copy, Debug)]
enum Accident {
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
    let training = command("train")
        .args(["--config", path(&config), "--epochs", "1000"])
        .args(["--devices", devices, "--output", path(&folder)])
        .env(TOKEN_VARIABLE, TOKEN)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !folder.join("metrics.json").exists() {
        assert!(started.elapsed() < Duration::from_secs(120));
        thread::sleep(Duration::from_millis(20));
    }
    server.signal(match accident {
        Accident::Killed => "-KILL",
        Accident::Hangs => "-STOP",
    });
    let lost = Instant::now();
    let output = training.wait_with_output().unwrap();
    let seconds = lost.elapsed().as_secs();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let (limit, cause) = match accident {
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
    let mut training = command("train")
        .args(["--resume", path(folder), "--devices", devices])
        .env(TOKEN_VARIABLE, TOKEN)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while epochs() < before + 2 {
        assert!(training.try_wait().unwrap().is_none(), "{devices}");
        assert!(started.elapsed() < Duration::from_secs(120), "{devices}");
        thread::sleep(Duration::from_millis(20));
    }
    training.kill().unwrap();
    training.wait().unwrap();
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
fn a_training_whose_second_server_dies_or_hangs_ends() {
    for accident in [Accident::Killed, Accident::Hangs] {
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
    train(dir.path(), "late", &format!("ws://{listen},ws://{listen}"));
    drop(late.join().unwrap());
}
