//! Web addresses without the credentials in messages.

use std::fmt;

/// A web address. Displayed without its user name, password, query and fragment, and not at all if it is malformed: any
/// part of it may be a password.
#[derive(Clone)]
pub(crate) struct Address(String);

impl Address {
    pub(crate) fn new(address: impl Into<String>) -> Self {
        Self(address.into())
    }

    /// The whole address.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Address {
    /// The address without what may be a credential; `None` if it is malformed, or has an `@` after the host, where a password with
    /// a slash would end.
    fn shown(&self) -> Option<String> {
        let (scheme, rest) = match self.0.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, self.0.as_str()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (path, _) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        let is_scheme = |scheme: &str| scheme.chars().all(|c| c.is_ascii_alphanumeric());
        if !scheme.is_none_or(is_scheme) || !is_host(host) || path.contains('@') {
            return None;
        }
        Some(match scheme {
            Some(scheme) => format!("{scheme}://{host}{path}"),
            None => format!("{host}{path}"),
        })
    }
}

/// Whether this is the name or the number of a host, with or without a port.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_number = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    let inner = name.strip_prefix('[').and_then(|of| of.strip_suffix(']'));
    let is_valid = match inner {
        Some(inner) => inner.chars().all(is_number),
        None => name.chars().all(is_name),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    is_valid && !name.is_empty() && port.is_none_or(is_port)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown().as_deref().unwrap_or("the address"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden() {
        for (address, shown) in [
            ("https://me:se@cret@host:8/a", "https://host:8/a"),
            ("https://me@host", "https://host"),
            ("https://host/a?token=secret", "https://host/a"),
            ("https://host#secret", "https://host"),
            ("http://me@[::1]:80/a", "http://[::1]:80/a"),
            ("http://[::1]/a", "http://[::1]/a"),
            ("me:secret@host/a", "host/a"),
        ] {
            let address = Address::new(address);
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), shown);
        }
    }

    #[test]
    fn a_malformed_address_is_not_shown() {
        for address in [
            "",
            "https://",
            "https:/me:secret@host",
            "https://me:se/cret@host",
            "https://me:12/cret@host",
            "https://me:secret",
            "me:secret@host://a",
            "https://host/a@b",
        ] {
            assert_eq!(
                Address::new(address).to_string(),
                "the address",
                "{address}"
            );
        }
    }

    #[test]
    fn options_are_debugged_without_credentials() {
        let options = crate::Options::new("folder".into()).with_source("https://me:secret@host/a");
        let text = format!("{options:?}");
        assert!(
            text.contains("https://host/a") && !text.contains("secret"),
            "{text}"
        );
    }
}
