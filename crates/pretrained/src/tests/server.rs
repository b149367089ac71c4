//! A web server whose connections may break off.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// The value of the header `Range`.
    range: Option<String>,
}

impl Request {
    /// The position of the first byte that was asked for.
    pub fn start(&self) -> usize {
        let range = self.range.as_deref().unwrap_or("bytes=0-");
        let start = range.strip_prefix("bytes=").unwrap();
        start.strip_suffix('-').unwrap().parse().unwrap()
    }
}

/// What is sent.
pub struct Answer {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
    /// The connection is closed after so many bytes of the body, and so much time.
    cut: Option<(usize, Duration)>,
}

impl Answer {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: vec!["Content-Length: 0".to_owned()],
            body: Vec::new(),
            cut: None,
        }
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Self {
        let mut answer = Self::status(302);
        answer.headers.push(format!("Location: {to}"));
        answer
    }

    /// All of a file.
    pub fn whole(file: &[u8]) -> Self {
        Self {
            headers: vec![format!("Content-Length: {}", file.len())],
            body: file.to_owned(),
            ..Self::status(200)
        }
    }

    /// All of a file, whose length is not stated.
    pub fn without_length(file: &[u8]) -> Self {
        Self {
            headers: Vec::new(),
            ..Self::whole(file)
        }
    }

    /// The part of a file that was asked for.
    pub fn part(request: &Request, file: &[u8]) -> Self {
        match request.start() {
            0 => Self::whole(file),
            start => Self::from(start, file),
        }
    }

    /// The part of a file from `start`.
    pub fn from(start: usize, file: &[u8]) -> Self {
        let length = file.len();
        let (status, range, body) = match file.get(start..) {
            None | Some([]) => (416, "*".to_owned(), &[][..]),
            Some(body) => (206, format!("{start}-{}", length - 1), body),
        };
        let mut answer = Self::whole(body);
        answer.status = status;
        let range = format!("Content-Range: bytes {range}/{length}");
        answer.headers.push(range);
        answer
    }

    /// Closes the connection after so many bytes of the body.
    pub fn cut_after(self, length: usize) -> Self {
        self.stall_after(length, Duration::ZERO)
    }

    /// Sends nothing after so many bytes of the body, and closes the connection after a while.
    pub fn stall_after(mut self, length: usize, time: Duration) -> Self {
        self.cut = Some((length, time));
        self
    }

    fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let reason = match self.status {
            404 => "Not Found",
            _ => "",
        };
        write!(stream, "HTTP/1.1 {} {reason}\r\n", self.status)?;
        for header in &self.headers {
            write!(stream, "{header}\r\n")?;
        }
        write!(stream, "Connection: close\r\n\r\n")?;
        let Some((length, time)) = self.cut else {
            return stream.write_all(&self.body);
        };
        stream.write_all(&self.body[..length.min(self.body.len())])?;
        thread::sleep(time);
        Ok(())
    }
}

/// A server on this machine, which runs until the process ends.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `answer` gets the number of the request, from 0.
    pub fn start(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
        };
        let requests = server.requests.clone();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (requests, answer) = (requests.clone(), answer.clone());
                thread::spawn(move || {
                    let mut stream = stream;
                    let request = read(&stream);
                    let index = {
                        let mut requests = requests.lock().unwrap();
                        requests.push(request.clone());
                        requests.len() - 1
                    };
                    // The client may have closed the connection.
                    let _ = answer(index, &request).send(&mut stream);
                });
            }
        });
        server
    }

    /// The address of the folder that has the files.
    pub fn address(&self) -> String {
        format!("http://{}/models", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap();
    let headers = lines.take_while(|line| !line.is_empty());
    let range = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.eq_ignore_ascii_case("range")).then(|| value.trim().to_owned())
    });
    Request {
        path: first.split(' ').nth(1).unwrap().to_owned(),
        range: range.last(),
    }
}
