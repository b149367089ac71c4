//! Web addresses without the credentials in messages.

use std::fmt;

/// A web address. Displayed without its user name and password.
#[derive(Clone, Debug)]
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

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = match self.0.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, self.0.as_str()),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let credentials = authority.rfind('@').map_or(0, |at| at + 1);
        if let Some(scheme) = scheme {
            write!(f, "{scheme}://")?;
        }
        f.write_str(rest.get(credentials..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden() {
        for (address, shown) in [
            ("https://me:se@cret@host:8/a@b", "https://host:8/a@b"),
            ("https://me@host", "https://host"),
            ("https://host/a?b=c@d", "https://host/a?b=c@d"),
            ("me:secret@host/a", "host/a"),
            ("", ""),
        ] {
            assert_eq!(Address::new(address).to_string(), shown);
        }
    }
}
