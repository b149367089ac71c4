//! Watched connections to a server.
//!
//! Burn's client waits without limit for a server that has stopped answering. It therefore
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
    /// How long a server that does not accept connections is tried again: it may be starting.
    pub(super) start: Duration,
    /// The time between two questions whether the server answers.
    pub(super) interval: Duration,
    /// A server that has not answered for this long is lost.
    pub(super) silence: Duration,
}

/// How long data may stay unacknowledged before a connection is given up. A server may leave data
/// in its buffers while it is busy, for instance with choosing kernels.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(600);

/// A relay to a server.
#[derive(Debug)]
pub(super) struct Relay {
    /// Where clients connect to. It stays bound after the server is lost: Burn knows its devices by
    /// this address.
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    server: SocketAddr,
    patience: Patience,
    sent: AtomicU64,
    received: AtomicU64,
    /// Why the server is lost.
    lost: OnceLock<String>,
    open: Mutex<Vec<Arc<Connection>>>,
    admission: Mutex<Admission>,
}

/// Which clients get a connection: one at a time, when this process connects a device.
#[derive(Debug)]
enum Admission {
    Nobody,
    Next,
    Connected(Arc<Connection>),
}

/// Both ends of a connection.
#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// Whether the server has accepted the client. Only then is the end of the connection a loss:
    /// a server closes a connection that it refuses.
    confirmed: AtomicBool,
    /// How it ended.
    ended: OnceLock<String>,
}

/// A client that is being admitted. Dropped without [`confirm`](Self::confirm), its connection is
/// closed.
pub(super) struct Admitted<'a>(&'a Relay);

impl Relay {
    /// Starts a relay to `server`, `HOST:PORT`, which must answer.
    pub(super) fn start(server: &str, patience: Patience) -> Result<Self, String> {
        let server = wait_for_start(server, patience)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let state = Arc::new(State {
            server,
            patience,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            lost: OnceLock::new(),
            open: Mutex::default(),
            admission: Mutex::new(Admission::Nobody),
        });
        let (accepting, watching) = (state.clone(), state.clone());
        spawn("relay", move || accepting.accept(&listener)).map_err(|error| error.to_string())?;
        spawn("relay-watch", move || watching.watch()).map_err(|error| error.to_string())?;
        Ok(Self { address, state })
    }

    /// Admits the next client.
    pub(super) fn admit(&self) -> Admitted<'_> {
        *self.state.admission() = Admission::Next;
        Admitted(self)
    }

    /// Why the server is lost, if it is.
    pub(super) fn lost(&self) -> Option<&str> {
        self.state.lost.get().map(String::as_str)
    }

    /// Ends the relay, which has no client.
    pub(super) fn end(&self) {
        self.state.lose("it has no client".to_owned());
    }

    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            sent: self.state.sent.load(Ordering::Relaxed),
            received: self.state.received.load(Ordering::Relaxed),
        }
    }
}

impl Admitted<'_> {
    /// Where the client connects to.
    pub(super) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Records that the server has accepted the client.
    pub(super) fn confirm(self) {
        let state = &self.0.state;
        let admission = std::mem::replace(&mut *state.admission(), Admission::Nobody);
        if let Admission::Connected(connection) = admission {
            connection.confirmed.store(true, Ordering::SeqCst);
            // It may have ended before.
            if let Some(cause) = connection.ended.get() {
                state.lose(cause.clone());
            }
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let mut admission = self.0.state.admission();
        if let Admission::Connected(connection) =
            std::mem::replace(&mut *admission, Admission::Nobody)
        {
            connection.close();
        }
    }
}

impl State {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            let Ok(client) = client else {
                // For instance, this process has too many open files.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            let mut admission = self.admission();
            let admits = match &*admission {
                Admission::Nobody => false,
                Admission::Next => true,
                // The client tries again.
                Admission::Connected(connection) => connection.ended.get().is_some(),
            };
            if !admits || self.lost.get().is_some() {
                continue;
            }
            // If this fails, the client gets no connection.
            if let Ok(connection) = self.clone().connect(client) {
                *admission = Admission::Connected(connection);
            }
        }
    }

    /// Passes everything between `client` and a new connection to the server.
    fn connect(self: Arc<Self>, client: TcpStream) -> io::Result<Arc<Connection>> {
        let server = TcpStream::connect_timeout(&self.server, self.patience.silence)?;
        // A machine that was switched off does not close its connections. Without this, one that
        // came back and answers again would be waited for without limit.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(5))
            .with_retries(4);
        let socket = SockRef::from(&server);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        server.set_nodelay(true)?;
        client.set_nodelay(true)?;
        let connection = Arc::new(Connection {
            client,
            server,
            confirmed: AtomicBool::new(false),
            ended: OnceLock::new(),
        });
        self.open().push(connection.clone());
        let (state, up) = (self.clone(), connection.clone());
        spawn("relay-up", move || {
            let end = pass(&up.client, &up.server, &state.sent);
            state.end(&up, end);
        })?;
        let down = connection.clone();
        spawn("relay-down", move || {
            let end = pass(&down.server, &down.client, &self.received);
            self.end(&down, end);
        })?;
        Ok(connection)
    }

    /// A connection has ended, with an error or without. Burn keeps its sessions as long as the
    /// process lives, so it was not this process that ended it.
    fn end(&self, connection: &Connection, end: io::Result<()>) {
        if connection.ended.get().is_none() {
            let cause = match (ask(self.server, self.patience.interval), end) {
                (Ok(()), _) => "its server ended the session; see its output".to_owned(),
                (Err(_), Ok(())) => "it closed the connection".to_owned(),
                (Err(_), Err(error)) => format!("the connection broke: {error}"),
            };
            let _ = connection.ended.set(cause);
        }
        if let Some(cause) = connection.ended.get()
            && connection.confirmed.load(Ordering::SeqCst)
        {
            self.lose(cause.clone());
        }
        connection.close();
        self.open()
            .retain(|open| !std::ptr::eq(open.as_ref(), connection));
    }

    /// Asks whether the server answers, until it is lost.
    fn watch(&self) {
        let Patience {
            interval, silence, ..
        } = self.patience;
        let mut answered = Instant::now();
        while self.lost.get().is_none() {
            thread::sleep(interval);
            let left = silence.saturating_sub(answered.elapsed());
            match ask(self.server, left.max(interval)) {
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
    }

    /// Ends all connections. The first cause counts.
    fn lose(&self, cause: String) {
        // Before the connections end, so that whatever fails with them finds the cause.
        let _ = self.lost.set(cause);
        for connection in self.open().drain(..) {
            connection.close();
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

/// Passes bytes on until one of the ends is closed.
fn pass(mut from: &TcpStream, mut to: &TcpStream, count: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // Before whoever gets the bytes can look.
        count.fetch_add(length as u64, Ordering::Relaxed);
        to.write_all(&buffer[..length])?;
    }
}

/// Waits until `server` answers, if it may be starting. Returns the address that does.
fn wait_for_start(server: &str, patience: Patience) -> Result<SocketAddr, String> {
    let started = Instant::now();
    let addresses: Vec<SocketAddr> = server
        .to_socket_addrs()
        .map_err(|error| error.to_string())?
        .collect();
    let patience_each = patience.silence / addresses.len().max(1) as u32;
    loop {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in &addresses {
            match ask(*address, patience_each) {
                Ok(()) => return Ok(*address),
                Err(error) => last = error,
            }
        }
        // A tunnel accepts connections and closes them.
        let may_be_starting = matches!(
            last.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::UnexpectedEof
        );
        if !may_be_starting || started.elapsed() >= patience.start {
            return Err(match last.kind() {
                io::ErrorKind::ConnectionRefused => "no server listens there".to_owned(),
                _ if is_timeout(&last) => {
                    format!("it does not answer within {} s", patience.silence.as_secs())
                }
                _ => last.to_string(),
            });
        }
        thread::sleep(Duration::from_millis(250));
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
fn ask(server: SocketAddr, patience: Duration) -> io::Result<()> {
    let started = Instant::now();
    let mut stream = TcpStream::connect_timeout(&server, patience)?;
    // In one packet: a server may close the connection after the first.
    let question = format!("GET / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let left = patience.saturating_sub(started.elapsed());
    stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
    match stream.read(&mut [0; 16])? {
        0 => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it closes connections without an answer",
        )),
        _ => Ok(()),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
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
        silence: Duration::from_secs(3),
    };

    /// A server that answers questions for as long as `answering` is set, and sends back what else
    /// it gets. It ends a connection on which it gets an `x`.
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
                        while asks && !answering.load(Ordering::SeqCst) {
                            thread::sleep(Duration::from_millis(10));
                        }
                        stream.write_all(&buffer[..length]).unwrap();
                    }
                });
            }
        });
        address
    }

    fn relay() -> Relay {
        Relay::start(&server(&Arc::new(AtomicBool::new(true))), PATIENCE).unwrap()
    }

    /// A client that the relay admits and the server accepts.
    fn client(relay: &Relay) -> TcpStream {
        let admitted = relay.admit();
        let mut client = TcpStream::connect(admitted.address()).unwrap();
        assert_eq!(exchange(&mut client, b"a").unwrap(), b"a");
        admitted.confirm();
        client
    }

    fn exchange(client: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        client.write_all(text)?;
        let mut answer = vec![0; text.len()];
        client.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn bytes_pass_both_ways_and_are_counted() {
        let relay = relay();
        let mut clients = [client(&relay), client(&relay)];
        // Longer than the server may be silent: it answers questions.
        thread::sleep(PATIENCE.silence + 4 * PATIENCE.interval);
        for client in &mut clients {
            assert_eq!(exchange(client, b"defgh").unwrap(), b"defgh");
        }
        let traffic = Traffic {
            sent: 12,
            received: 12,
        };
        assert_eq!(relay.traffic(), traffic);
        assert_eq!(relay.lost(), None);
    }

    #[test]
    fn only_the_client_of_this_process_is_admitted() {
        let relay = relay();
        let mut stranger = TcpStream::connect(relay.address).unwrap();
        assert!(exchange(&mut stranger, b"a").is_err());
        let admitted = relay.admit();
        let mut client = TcpStream::connect(admitted.address()).unwrap();
        assert_eq!(exchange(&mut client, b"a").unwrap(), b"a");
        let mut stranger = TcpStream::connect(relay.address).unwrap();
        assert!(exchange(&mut stranger, b"a").is_err());
        admitted.confirm();
        assert_eq!(exchange(&mut client, b"b").unwrap(), b"b");
    }

    #[test]
    fn a_refused_client_is_no_loss_but_the_end_of_an_accepted_one_is() {
        let relay = relay();
        let mut accepted = client(&relay);
        let admitted = relay.admit();
        let mut refused = TcpStream::connect(admitted.address()).unwrap();
        // Until it has accepted a client, a server refuses it by closing the connection.
        assert!(exchange(&mut refused, b"x").is_err());
        drop(admitted);
        assert_eq!(relay.lost(), None);
        // Only the accepted one is kept. The threads that pass its bytes on remove the other.
        let started = Instant::now();
        while relay.state.open().len() > 1 {
            assert!(started.elapsed() < Duration::from_secs(30));
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(exchange(&mut accepted, b"b").unwrap(), b"b");
        assert!(exchange(&mut accepted, b"x").is_err());
        let cause = "its server ended the session; see its output";
        assert_eq!(relay.lost(), Some(cause));
    }

    #[test]
    fn a_relay_that_has_ended_admits_nobody() {
        let relay = relay();
        relay.end();
        let admitted = relay.admit();
        let mut client = TcpStream::connect(admitted.address()).unwrap();
        assert!(exchange(&mut client, b"a").is_err());
    }

    #[test]
    fn a_client_that_ends_before_it_is_confirmed_is_a_loss() {
        let relay = relay();
        let admitted = relay.admit();
        let mut client = TcpStream::connect(admitted.address()).unwrap();
        assert!(exchange(&mut client, b"x").is_err());
        admitted.confirm();
        assert!(relay.lost().is_some());
    }

    #[test]
    fn a_server_that_stops_answering_is_lost_and_releases_whoever_waits() {
        let answering = Arc::new(AtomicBool::new(true));
        let relay = Relay::start(&server(&answering), PATIENCE).unwrap();
        let [mut one, mut other] = [client(&relay), client(&relay)];
        answering.store(false, Ordering::SeqCst);
        let stopped = Instant::now();
        // The end of the stream, or an error.
        assert!(!matches!(one.read(&mut [0]), Ok(1..)));
        assert!(!matches!(other.read(&mut [0]), Ok(1..)));
        let waited = stopped.elapsed();
        let cause = relay.lost().unwrap();
        let silence = cause.strip_prefix("it has not answered for ").unwrap();
        let seconds: u64 = silence.strip_suffix(" s").unwrap().parse().unwrap();
        // It may have answered last some time before it stopped, and the watching thread may be late.
        assert!(seconds >= PATIENCE.silence.as_secs());
        assert!(waited < Duration::from_secs(seconds + 1));
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
        assert_eq!(cause, "it does not answer within 3 s");
        assert!(Relay::start("no-such-host.invalid:1", PATIENCE).is_err());
    }

    #[test]
    fn a_server_that_is_still_starting_is_awaited() {
        // A tunnel to it accepts connections, and closes them.
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let patience = Patience {
            start: Duration::from_secs(60),
            ..PATIENCE
        };
        let waiting = thread::spawn(move || Relay::start(&address, patience));
        drop(listener.accept().unwrap());
        let (mut question, _) = listener.accept().unwrap();
        question.write_all(b"HTTP/1.1 404\r\n").unwrap();
        assert!(waiting.join().unwrap().is_ok());
    }
}
