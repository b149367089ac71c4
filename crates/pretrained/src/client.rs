//! Requests to the server that has the files.

use std::{io::Read, net::IpAddr, time::Duration};

use ureq::{
    Agent,
    http::{Response, StatusCode, Uri, header},
};

use crate::{address::Address, error::Error, options::Options};

/// How long a connection may take, and how long a server may send nothing.
const STALLED: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 30 });

/// A client for the server of an [`Options::source`].
pub(crate) struct Client {
    agent: Agent,
}

/// What a server sends.
pub(crate) enum Answer {
    /// Nothing: the file has no more bytes.
    Complete,
    /// Bytes of the file.
    Bytes(Bytes),
}

/// Bytes of a file.
pub(crate) struct Bytes {
    /// The position of the first byte in the file.
    pub(crate) start: u64,
    /// The length of the file, if the server states it.
    pub(crate) total: Option<u64>,
    pub(crate) reader: Box<dyn Read>,
}

impl Client {
    /// Fails if the source is neither an HTTPS address nor an HTTP address of this machine: over
    /// HTTP, others on the network would see what is fetched. Fails if it has a query, which the name of a file
    /// cannot follow.
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let refused = |cause: &str| Error::Source {
            address: Address::new(&options.source).to_string(),
            cause: cause.to_owned(),
        };
        if options.source.contains(['?', '#']) {
            return Err(refused(
                "not the address of a folder: it has a query or a fragment",
            ));
        }
        let address: Uri = (options.source.parse()).map_err(|_| refused("not a web address"))?;
        let host = address.host().unwrap_or_default();
        let config = Agent::config_builder()
            .user_agent(concat!("fcos-burn/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .timeout_resolve(Some(STALLED))
            .timeout_connect(Some(STALLED))
            .timeout_per_read(Some(STALLED));
        let config = match address.scheme_str() {
            // Also for the addresses that the server redirects to.
            Some("https") if !host.is_empty() => config.https_only(true),
            Some("http") if is_this_machine(host) => config.proxy(None),
            Some("http") => return Err(refused("only HTTPS is allowed")),
            _ => return Err(refused("not a web address")),
        };
        Ok(Self {
            agent: config.build().new_agent(),
        })
    }

    /// Requests the bytes of a file from position `start`. A server that cannot send a part of the
    /// file sends all of it.
    pub(crate) fn request(&self, address: &Address, start: u64) -> Result<Answer, Error> {
        let request = self.agent.get(address.as_str());
        let request = match start {
            0 => request,
            _ => request.header(header::RANGE, format!("bytes={start}-")),
        };
        let response = request.call().map_err(|error| Error::Connection {
            address: address.to_string(),
            cause: cause(error),
            kept: start,
        })?;
        match response.status() {
            StatusCode::OK => {
                let total = response.body().content_length();
                Ok(Answer::bytes(0, total, response))
            }
            StatusCode::PARTIAL_CONTENT => match ContentRange::of(&response) {
                Some(range) if range.start == Some(start) => {
                    Ok(Answer::bytes(start, range.total, response))
                }
                // Not the part that was asked for.
                _ if start > 0 => self.request(address, 0),
                _ => Err(refused(address, response.status())),
            },
            StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => match ContentRange::of(&response) {
                Some(range) if range.total == Some(start) => Ok(Answer::Complete),
                _ => self.request(address, 0),
            },
            status => Err(refused(address, status)),
        }
    }
}

impl Answer {
    fn bytes(start: u64, total: Option<u64>, response: Response<ureq::Body>) -> Self {
        Self::Bytes(Bytes {
            start,
            total,
            reader: Box::new(response.into_body().into_reader()),
        })
    }
}

fn refused(address: &Address, status: StatusCode) -> Error {
    Error::Status {
        address: address.to_string(),
        status: status.to_string(),
    }
}

/// The header `Content-Range: bytes START-END/TOTAL`, in which both the range and the total may be
/// unknown (RFC 9110, section 14.4).
struct ContentRange {
    start: Option<u64>,
    total: Option<u64>,
}

impl ContentRange {
    fn of<B>(response: &Response<B>) -> Option<Self> {
        let range = response.headers().get(header::CONTENT_RANGE)?;
        let (range, total) = range
            .to_str()
            .ok()?
            .strip_prefix("bytes ")?
            .split_once('/')?;
        let start = range.split_once('-').map(|(start, _)| start.trim().parse());
        Some(Self {
            start: start.transpose().ok()?,
            total: total.trim().parse().ok(),
        })
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// A cause of failure in words.
pub(crate) fn cause(error: ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "the host was not found; is there a network?".to_owned(),
        ureq::Error::Timeout(_) => format!("no answer within {} seconds", STALLED.as_secs()),
        ureq::Error::RequireHttpsOnly(_) => {
            "the server redirects to an address without HTTPS".to_owned()
        }
        error => error.to_string(),
    }
}
