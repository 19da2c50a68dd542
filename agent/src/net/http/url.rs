//! The URL of an endpoint, taken apart once when it is configured.

use std::fmt;

use blackstart_config::Section;

use crate::net::address::{Address, AddressError};

/// An `http` or `https` URL without user information.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    tls: bool,
    address: Address,
    path_and_query: String,
}

/// Why a text is no URL for a probe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither `http://` nor `https://`.
    #[error("expected a URL that begins with http:// or https://")]
    Scheme,
    /// A password in a URL ends up in logs.
    #[error("must hold no user or password; use the keys `user` and `password_file`")]
    UserInformation,
    /// The host or the port is wrong.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A blank, a control character, or something else that a request line cannot hold.
    #[error("holds a character that a URL cannot have")]
    Character,
}

impl Url {
    /// Reads a URL; a fragment is dropped.
    ///
    /// # Errors
    /// The text is no URL for a probe.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (tls, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else {
            return Err(UrlError::Scheme);
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        if authority.contains('@') {
            return Err(UrlError::UserInformation);
        }
        let address = Address::parse(authority, Some(if tls { 443 } else { 80 }))?;
        let root = Self {
            tls,
            address,
            path_and_query: "/".to_owned(),
        };
        root.with_path(path)
    }

    /// Reads a required key of a probe's table; a problem is noted there.
    pub fn configure(section: &mut Section<'_>, key: &'static str) -> Option<Self> {
        let text = section.required_string(key)?;
        match Self::parse(&text) {
            Ok(url) => Some(url),
            Err(error @ UrlError::UserInformation) => {
                // Named, not shown: what stands there is a password.
                section.problem_at(section.line(), key, &error.to_string(), "");
                None
            }
            Err(error) => {
                section.problem(key, &error.to_string(), "");
                None
            }
        }
    }

    /// The URL of a server that was found listening.
    #[must_use]
    pub fn of(tls: bool, address: Address) -> Self {
        Self {
            tls,
            address,
            path_and_query: "/".to_owned(),
        }
    }

    /// The same server, another path (with its query): what a probe asks beside the configured page.
    ///
    /// # Errors
    /// The path holds what a request line cannot.
    pub fn with_path(&self, path_and_query: &str) -> Result<Self, UrlError> {
        let path_and_query = if path_and_query.starts_with('/') {
            path_and_query.to_owned()
        } else {
            format!("/{path_and_query}")
        };
        if path_and_query.bytes().any(|b| !b.is_ascii_graphic())
            || path_and_query.parse::<http::Uri>().is_err()
        {
            return Err(UrlError::Character);
        }
        Ok(Self {
            path_and_query,
            ..self.clone()
        })
    }

    /// Where a `Location` header of an answer from here points.
    ///
    /// # Errors
    /// It is no URL.
    pub fn follow(&self, location: &str) -> Result<Self, UrlError> {
        if location.contains("://") {
            Self::parse(location)
        } else if let Some(rest) = location.strip_prefix("//") {
            Self::parse(&format!("{}://{rest}", self.scheme()))
        } else if location.starts_with('/') {
            self.with_path(location.split('#').next().unwrap_or_default())
        } else {
            let folder = self
                .path()
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder);
            self.with_path(&format!(
                "{folder}/{}",
                location.split('#').next().unwrap_or_default()
            ))
        }
    }

    /// Whether it is `https`.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The path without the query, which may hold what is nobody's business.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }

    pub(crate) fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    pub(crate) fn host_header(&self) -> String {
        let default_port = if self.tls { 443 } else { 80 };
        let shown = self.address.to_string();
        if self.address.port == default_port {
            shown
                .rsplit_once(':')
                .map_or(shown.clone(), |(host, _)| host.to_owned())
        } else {
            shown
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Scheme, host, port and path; the query is left out.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.address, self.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, shown, host, path) in [
            ("http://10.0.0.5", "http://10.0.0.5:80/", "10.0.0.5", "/"),
            (
                "https://a.test/x?key=1#f",
                "https://a.test:443/x",
                "a.test",
                "/x?key=1",
            ),
            (
                "http://[::1]:8080?x",
                "http://[::1]:8080/",
                "[::1]:8080",
                "/?x",
            ),
            ("http://[::1]/", "http://[::1]:80/", "[::1]", "/"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                (url.to_string().as_str(), url.host_header().as_str()),
                (shown, host),
                "{text}"
            );
            assert_eq!(url.path_and_query(), path, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for (text, error) in [
            ("", UrlError::Scheme),
            ("ftp://a", UrlError::Scheme),
            ("10.0.0.5:80", UrlError::Scheme),
            ("http://u:p@a/", UrlError::UserInformation),
            ("http://", UrlError::Address(AddressError::Host)),
            ("http://a:x/", UrlError::Address(AddressError::Port)),
            ("http://a/b c", UrlError::Character),
            ("http://a/é", UrlError::Character),
            ("http://a/\r\nX: y", UrlError::Character),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_location_is_followed_from_where_it_was_given() {
        let from = Url::parse("https://a.test/x/y?q").unwrap();
        for (location, expected) in [
            ("/login", "https://a.test:443/login"),
            ("z", "https://a.test:443/x/z"),
            ("//b.test/", "https://b.test:443/"),
            ("http://c.test:81/", "http://c.test:81/"),
        ] {
            assert_eq!(
                from.follow(location).unwrap().to_string(),
                expected,
                "{location}"
            );
        }
    }
}
