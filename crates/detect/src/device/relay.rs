//! Watched connections to a server.
//!
//! Burn's client waits without limit for a server that has stopped to answer. It therefore
//! connects to a relay in its own process, which passes all bytes on to the server, counts them,
//! and asks the server every few seconds, over a connection of its own, whether it still answers.
//! If the server is lost, the relay closes the client's connections, and whatever waits for the
//! server fails at once.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use socket2::{SockRef, TcpKeepalive};

use super::Traffic;

/// How long a server is awaited and watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// How long a server that refuses connections is tried again: it may be starting.
    pub(super) start: Duration,
    /// The time between two questions whether the server answers.
    pub(super) interval: Duration,
    /// A server that has not answered for this long is lost.
    pub(super) silence: Duration,
}

/// A relay to a server. Lives until the server is lost or the process ends.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

/// Both ends of a connection.
#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// Whether the server has accepted the client. Only then is the end of the connection a loss:
    /// a server closes a connection that it refuses.
    confirmed: AtomicBool,
    /// Whether the client has closed the connection, which is no loss either.
    closed: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// `HOST:PORT`.
    server: String,
    patience: Patience,
    sent: AtomicU64,
    received: AtomicU64,
    /// Why the server is lost.
    lost: OnceLock<String>,
    open: Mutex<Vec<Arc<Connection>>>,
    /// Whether a client of this process is connecting. Others get no connection.
    admitting: AtomicBool,
}

impl Relay {
    /// Starts a relay to `server`, `HOST:PORT`, which must answer.
    pub(super) fn start(server: &str, patience: Patience) -> Result<Self, String> {
        wait_for_start(server, patience)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let state = Arc::new(State {
            server: server.to_owned(),
            patience,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            lost: OnceLock::new(),
            open: Mutex::default(),
            admitting: AtomicBool::new(false),
        });
        let accepting = state.clone();
        spawn("relay", move || accepting.accept(&listener))?;
        let watching = state.clone();
        spawn("relay-watch", move || watching.watch(address))?;
        Ok(Self { address, state })
    }

    /// Why the server is lost, if it is.
    pub(super) fn lost(&self) -> Option<&str> {
        self.state.lost.get().map(String::as_str)
    }

    /// Admits clients until [`confirm`](Self::confirm) or [`reject`](Self::reject).
    pub(super) fn admit(&self) -> SocketAddr {
        self.state.admitting.store(true, Ordering::SeqCst);
        self.address
    }

    /// Takes note that the server has accepted the clients of all connections.
    pub(super) fn confirm(&self) {
        self.state.admitting.store(false, Ordering::SeqCst);
        for connection in self.state.open().iter() {
            connection.confirmed.store(true, Ordering::SeqCst);
        }
    }

    /// Closes the connections whose clients the server has not accepted.
    pub(super) fn reject(&self) {
        self.state.admitting.store(false, Ordering::SeqCst);
        let is_confirmed =
            |connection: &Arc<Connection>| connection.confirmed.load(Ordering::SeqCst);
        let mut open = self.state.open();
        for rejected in open.iter().filter(|connection| !is_confirmed(connection)) {
            rejected.close();
        }
        open.retain(is_confirmed);
        if open.is_empty() {
            drop(open);
            self.state.lose("no client was accepted".to_owned());
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            sent: self.state.sent.load(Ordering::Relaxed),
            received: self.state.received.load(Ordering::Relaxed),
        }
    }
}

impl State {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.lost.get().is_some() {
                return;
            }
            if !self.admitting.load(Ordering::SeqCst) {
                continue;
            }
            let connected = client.and_then(|client| self.clone().connect(client));
            if let Err(error) = connected {
                self.lose(format!("the connection broke: {error}"));
            }
        }
    }

    /// Passes everything between `client` and a new connection to the server.
    fn connect(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = dial(&self.server, self.patience.silence)?;
        // A machine that was switched off does not close its connections. Without this, one that
        // came back and answers again would be waited for without limit.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(20))
            .with_interval(Duration::from_secs(5));
        SockRef::from(&server).set_tcp_keepalive(&keepalive)?;
        server.set_nodelay(true)?;
        client.set_nodelay(true)?;
        let connection = Arc::new(Connection {
            client,
            server,
            confirmed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        self.open().push(connection.clone());
        if self.lost.get().is_some() {
            connection.close();
        }
        let (state, up) = (self.clone(), connection.clone());
        spawn_io("relay-up", move || {
            match pass(&up.client, &up.server, &state.sent) {
                Ended::Source(_) => up.closed.store(true, Ordering::SeqCst),
                Ended::Target(error) => state.end(&up, format!("the connection broke: {error}")),
            }
            up.close();
        })?;
        spawn_io("relay-down", move || {
            match pass(&connection.server, &connection.client, &self.received) {
                Ended::Source(Ok(())) => self.end(&connection, "it closed the connection".into()),
                Ended::Source(Err(error)) => {
                    self.end(&connection, format!("the connection broke: {error}"));
                }
                Ended::Target(_) => connection.closed.store(true, Ordering::SeqCst),
            }
            connection.close();
        })
    }

    /// The server has ended a connection.
    fn end(&self, connection: &Connection, cause: String) {
        let was_closed = connection.closed.load(Ordering::SeqCst);
        if connection.confirmed.load(Ordering::SeqCst) && !was_closed {
            self.lose(cause);
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks whether the server answers, until it is lost.
    fn watch(&self, relay: SocketAddr) {
        let Patience {
            interval, silence, ..
        } = self.patience;
        let mut answered = Instant::now();
        while self.lost.get().is_none() {
            thread::sleep(interval);
            let left = silence.saturating_sub(answered.elapsed());
            match ask(&self.server, left.max(interval)) {
                Ok(()) => answered = Instant::now(),
                Err(_) if answered.elapsed() < silence => {}
                Err(error) => {
                    let seconds = answered.elapsed().as_secs();
                    let cause = match is_timeout(&error) {
                        true => String::new(),
                        false => format!(" ({error})"),
                    };
                    self.lose(format!("it has not answered for {seconds} s{cause}"));
                }
            }
        }
        // Wakes the thread that accepts connections, so that it can end.
        let _ = TcpStream::connect(relay);
    }

    /// Ends all connections. The first cause counts.
    fn lose(&self, cause: String) {
        // Before the connections end, so that whatever fails with them finds the cause.
        let _ = self.lost.set(cause);
        for connection in self.open().drain(..) {
            connection.close();
        }
    }
}

impl Connection {
    fn close(&self) {
        for stream in [&self.client, &self.server] {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Which end of a connection ended it.
enum Ended {
    Source(io::Result<()>),
    Target(io::Error),
}

/// Passes bytes on until one of the ends is closed.
fn pass(mut from: &TcpStream, mut to: &TcpStream, count: &AtomicU64) -> Ended {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ended::Source(Ok(())),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ended::Source(Err(error)),
        };
        if let Err(error) = to.write_all(&buffer[..length]) {
            return Ended::Target(error);
        }
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
}

/// Waits until `server` answers, if it may be starting.
fn wait_for_start(server: &str, patience: Patience) -> Result<(), String> {
    let started = Instant::now();
    loop {
        match ask(server, patience.silence) {
            Ok(()) => return Ok(()),
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && started.elapsed() < patience.start =>
            {
                thread::sleep(Duration::from_millis(250));
            }
            Err(error) => return Err(unanswered(&error, patience.silence)),
        }
    }
}

fn unanswered(error: &io::Error, silence: Duration) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "no server listens there".to_owned(),
        _ if is_timeout(error) => format!("it does not answer within {} s", silence.as_secs()),
        _ => error.to_string(),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    // Which one depends on the operating system.
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Asks `server` for a page that it does not have. Any answer will do.
fn ask(server: &str, patience: Duration) -> io::Result<()> {
    let mut stream = dial(server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // In one packet: a server may close the connection after the first.
    let question = format!("GET / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    match stream.read(&mut [0; 16])? {
        0 => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it closes connections unanswered",
        )),
        _ => Ok(()),
    }
}

/// Connects to the first address of `server` that can be reached.
fn dial(server: &str, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    spawn_io(name, work).map_err(|error| error.to_string())
}

fn spawn_io(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const PATIENCE: Patience = Patience {
        start: Duration::from_millis(600),
        interval: Duration::from_millis(50),
        silence: Duration::from_millis(300),
    };

    /// A server that answers questions for as long as `answering` is set, and sends back what else
    /// it gets, until it gets an `x`.
    fn server(answering: &Arc<AtomicBool>) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answering = answering.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, answering) = (stream.unwrap(), answering.clone());
                thread::spawn(move || {
                    let mut buffer = [0; 256];
                    loop {
                        let length = stream.read(&mut buffer).unwrap_or(0);
                        let asks = buffer.starts_with(b"GET");
                        if length == 0 || buffer[..length].contains(&b'x') {
                            return;
                        }
                        if asks && !answering.load(Ordering::SeqCst) {
                            thread::park();
                        }
                        stream.write_all(&buffer[..length]).unwrap();
                    }
                });
            }
        });
        address
    }

    fn connect(relay: &Relay) -> TcpStream {
        TcpStream::connect(relay.admit()).unwrap()
    }

    fn wait_for(condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn exchange(client: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        client.write_all(text)?;
        let mut answer = vec![0; text.len()];
        client.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn bytes_pass_both_ways_and_are_counted() {
        let relay = Relay::start(&server(&Arc::new(AtomicBool::new(true))), PATIENCE).unwrap();
        let mut client = connect(&relay);
        assert_eq!(exchange(&mut client, b"abc").unwrap(), b"abc");
        // Several periods of silence: the server answers questions.
        thread::sleep(3 * PATIENCE.silence);
        assert_eq!(exchange(&mut client, b"defgh").unwrap(), b"defgh");
        let traffic = Traffic {
            sent: 8,
            received: 8,
        };
        assert_eq!(relay.traffic(), traffic);
        // Others get no connection.
        relay.confirm();
        let mut stranger = TcpStream::connect(relay.address).unwrap();
        assert!(exchange(&mut stranger, b"a").is_err());
        // The client's own end is no loss.
        drop(client);
        thread::sleep(2 * PATIENCE.interval);
        assert_eq!(relay.lost(), None);
    }

    #[test]
    fn a_server_that_closes_the_connection_is_lost() {
        let relay = Relay::start(&server(&Arc::new(AtomicBool::new(true))), PATIENCE).unwrap();
        let [mut accepted, mut refused] = [0; 2].map(|_| {
            let mut client = connect(&relay);
            assert_eq!(exchange(&mut client, b"a").unwrap(), b"a");
            client
        });
        // Until it has accepted a client, closing the connection is how it refuses it.
        assert!(exchange(&mut refused, b"x").is_err());
        assert_eq!(relay.lost(), None);
        relay.confirm();
        relay.reject();
        assert_eq!(exchange(&mut accepted, b"b").unwrap(), b"b");
        assert!(exchange(&mut accepted, b"x").is_err());
        assert_eq!(relay.lost(), Some("it closed the connection"));
    }

    #[test]
    fn a_relay_ends_with_its_only_client_if_the_server_refuses_it() {
        let relay = Relay::start(&server(&Arc::new(AtomicBool::new(true))), PATIENCE).unwrap();
        let mut client = connect(&relay);
        assert_eq!(exchange(&mut client, b"a").unwrap(), b"a");
        relay.reject();
        assert!(exchange(&mut client, b"b").is_err());
        wait_for(|| TcpStream::connect(relay.admit()).is_err());
    }

    #[test]
    fn a_server_that_stops_answering_is_lost_and_releases_whoever_waits() {
        let answering = Arc::new(AtomicBool::new(true));
        let relay = Relay::start(&server(&answering), PATIENCE).unwrap();
        let mut client = connect(&relay);
        let mut other = connect(&relay);
        exchange(&mut client, b"a").unwrap();
        exchange(&mut other, b"b").unwrap();
        answering.store(false, Ordering::SeqCst);
        let stopped = Instant::now();
        // The end of the stream, or an error.
        assert!(!matches!(client.read(&mut [0]), Ok(1..)));
        assert!(!matches!(other.read(&mut [0]), Ok(1..)));
        assert!(stopped.elapsed() >= PATIENCE.silence - PATIENCE.interval);
        let lost = relay.lost().unwrap();
        assert!(lost.starts_with("it has not answered for"), "{lost}");
        wait_for(|| TcpStream::connect(relay.admit()).is_err());
    }

    #[test]
    fn a_server_that_does_not_start_or_does_not_answer_is_named() {
        let unused = {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let started = Instant::now();
        let cause = Relay::start(&unused, PATIENCE).unwrap_err();
        assert_eq!(cause, "no server listens there");
        assert!(started.elapsed() >= PATIENCE.start);
        let silent = server(&Arc::new(AtomicBool::new(false)));
        let cause = Relay::start(&silent, PATIENCE).unwrap_err();
        assert!(cause.starts_with("it does not answer within"), "{cause}");
        assert!(Relay::start("no-such-host.invalid:1", PATIENCE).is_err());
    }

    #[test]
    fn a_server_that_is_still_starting_is_awaited() {
        let address = {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            listener.local_addr().unwrap()
        };
        let waiting = thread::spawn(move || Relay::start(&address.to_string(), PATIENCE));
        thread::sleep(Duration::from_millis(100));
        let listener = TcpListener::bind(address).unwrap();
        let (mut question, _) = listener.accept().unwrap();
        question.write_all(b"HTTP/1.1 404\r\n").unwrap();
        assert!(waiting.join().unwrap().is_ok());
    }
}
