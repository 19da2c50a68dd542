//! A small HTTP/1.1 client for probes: one request, one connection, every step timed.
//!
//! No redirects, no cookies, no retries, no pool: a probe wants to see what a first client of the morning would
//! see. The exchange runs inside the caller's future, so that a run dropped at its deadline leaves nothing behind.

pub mod failure;
pub mod url;

use std::borrow::Cow;
use std::future::Future as _;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use blackstart_config::{Secret, Section};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret as _;

pub use failure::HttpFailure;
pub use url::Url;

use super::connect::{Connected, Phases, Stream, connect};
use super::milliseconds;
use super::tls::TlsClient;
use crate::observation::Finding;
use crate::probe::Deadline;

/// The most of a body that is kept unless an option says otherwise: health pages are short, and a probe is no download.
pub const BODY_BYTES_DEFAULT: usize = 64 * 1024;

/// The most of an answer's head that is read: nginx and Apache send and accept 8 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;

const USER_AGENT: &str = concat!("blackstart-agent/", env!("CARGO_PKG_VERSION"));

/// What goes along with every request of a probe.
#[derive(Debug)]
pub struct Options {
    /// Further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The user and password of basic authentication.
    pub basic_auth: Option<(String, Secret)>,
    /// A bearer token.
    pub bearer: Option<Secret>,
    /// The most of a body that is kept; the rest is not read.
    pub body_bytes_max: usize,
    /// How TLS is spoken where the URL says `https`.
    pub tls: TlsClient,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            basic_auth: None,
            bearer: None,
            body_bytes_max: BODY_BYTES_DEFAULT,
            tls: TlsClient::default(),
        }
    }
}

impl Options {
    /// Reads the keys that every probe over HTTP has: those of [`TlsClient::configure`], `user` with `password_file` or
    /// `password_env`, and `bearer_token_file` or `bearer_token_env`.
    pub fn configure(section: &mut Section<'_>) -> Option<Self> {
        let tls = TlsClient::configure(section);
        let user = section.string("user");
        let password = section.secret(["password", "password_file", "password_env"]);
        let bearer = section.secret(["bearer_token", "bearer_token_file", "bearer_token_env"]);
        let basic_auth = match (user, password) {
            (Some(user), Some(password)) => Some((user, password)),
            (Some(_), None) => {
                section.problem(
                    "user",
                    "needs a password beside it",
                    "add password_file or password_env",
                );
                return None;
            }
            (None, Some(_)) => {
                let key = if section.has("password_file") {
                    "password_file"
                } else {
                    "password_env"
                };
                section.problem(key, "needs a user beside it", "");
                return None;
            }
            (None, None) => None,
        };
        Some(Self {
            basic_auth,
            bearer,
            tls: tls?,
            ..Self::default()
        })
    }

    /// A body for people: without what it repeats of our secrets. A server may show its visitors what they sent.
    #[must_use]
    pub fn without_secrets<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        const INSTEAD: &[u8] = b"[secret]";
        let mut shown = Cow::Borrowed(body);
        let authorization = self.authorization().ok().flatten();
        let sent = authorization
            .iter()
            .filter_map(|value| value.as_bytes().splitn(2, |byte| *byte == b' ').nth(1))
            .map(<[u8]>::to_vec);
        let password = self.basic_auth.iter().filter_map(|(_, secret)| {
            let password = secret.read().ok()?;
            Some(password.expose_secret().as_bytes().to_vec())
        });
        for secret in sent.chain(password).filter(|secret| !secret.is_empty()) {
            let mut clean = Vec::new();
            let mut rest = &*shown;
            while let Some(at) = rest.windows(secret.len()).position(|part| part == secret) {
                clean.extend_from_slice(&rest[..at]);
                clean.extend_from_slice(INSTEAD);
                rest = &rest[at + secret.len()..];
            }
            if !clean.is_empty() {
                clean.extend_from_slice(rest);
                shown = Cow::Owned(clean);
            }
        }
        shown
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, HttpFailure> {
        let mut text = if let Some(secret) = &self.bearer {
            format!("Bearer {}", secret.read()?.expose_secret())
        } else if let Some((user, secret)) = &self.basic_auth {
            let password = secret.read()?;
            format!(
                "Basic {}",
                base64(format!("{user}:{}", password.expose_secret()).as_bytes())
            )
        } else {
            return Ok(None);
        };
        text.retain(|c| c != '\n');
        let mut value = HeaderValue::try_from(text).map_err(|_| HttpFailure::SecretNotSendable)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as far as it was kept.
    pub body: Bytes,
    /// Whether the body was longer than what was kept.
    pub body_cut: bool,
    /// How long connecting took.
    pub phases: Phases,
    /// From the request's first byte out to the answer's head.
    pub first_byte_ms: f64,
    /// The whole run, with connecting and the body.
    pub total_ms: f64,
    /// When the server's certificate ends, with TLS.
    pub certificate_expires: Option<jiff::Timestamp>,
}

impl HttpAnswer {
    /// Adds the times of all phases to a finding's values.
    #[must_use]
    pub fn add_to(&self, finding: Finding) -> Finding {
        self.phases
            .add_to(finding)
            .with("first_byte_ms", self.first_byte_ms)
            .with("total_ms", self.total_ms)
    }
}

/// Asks with `GET`.
///
/// # Errors
/// There is no whole answer; see [`HttpFailure`] for what is told apart.
pub async fn get(
    url: &Url,
    options: &Options,
    deadline: Deadline,
) -> Result<HttpAnswer, HttpFailure> {
    request(Method::GET, url, None, options, deadline).await
}

/// Asks with `POST` and a JSON body.
///
/// # Errors
/// There is no whole answer; see [`HttpFailure`] for what is told apart.
pub async fn post(
    url: &Url,
    json: impl Into<Bytes> + Send,
    options: &Options,
    deadline: Deadline,
) -> Result<HttpAnswer, HttpFailure> {
    request(Method::POST, url, Some(json.into()), options, deadline).await
}

async fn request(
    method: Method,
    url: &Url,
    json: Option<Bytes>,
    options: &Options,
    deadline: Deadline,
) -> Result<HttpAnswer, HttpFailure> {
    let begun = Instant::now();
    let asked = format!("{method} {}", url.path());
    let request = build(method, url, json, options)?;
    let Connected {
        stream,
        peer,
        phases,
        certificate_expires,
    } = connect(
        url.address(),
        url.is_tls().then_some(&options.tls),
        deadline,
    )
    .await?;
    let exchange = exchange(stream, request, options.body_bytes_max, deadline);
    let part = exchange
        .await
        .map_err(|broken| broken.into_failure(peer, asked))?;
    Ok(HttpAnswer {
        status: part.status,
        headers: part.headers,
        body: part.body,
        body_cut: part.body_cut,
        phases,
        first_byte_ms: part.first_byte_ms,
        total_ms: milliseconds(begun.elapsed()),
        certificate_expires,
    })
}

fn build(
    method: Method,
    url: &Url,
    json: Option<Bytes>,
    options: &Options,
) -> Result<Request<Full<Bytes>>, HttpFailure> {
    let not_sendable = |_| HttpFailure::NotSendable;
    let mut builder = Request::builder()
        .method(method)
        .uri(url.path_and_query())
        .header(header::HOST, url.host_header())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close");
    if let Some(authorization) = options.authorization()? {
        builder = builder.header(header::AUTHORIZATION, authorization);
    }
    if json.is_some() {
        builder = builder.header(header::CONTENT_TYPE, "application/json");
    }
    let mut request = builder
        .body(Full::new(json.unwrap_or_default()))
        .map_err(not_sendable)?;
    for (name, value) in &options.headers {
        request.headers_mut().insert(name.clone(), value.clone());
    }
    Ok(request)
}

struct Part {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    body_cut: bool,
    first_byte_ms: f64,
}

/// Sends the request and reads the answer, driving the connection in the same task.
async fn exchange(
    stream: Stream,
    request: Request<Full<Bytes>>,
    body_bytes_max: usize,
    deadline: Deadline,
) -> Result<Part, failure::Broken> {
    use failure::Broken;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_header_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(Broken::Head)?;
    let begun = Instant::now();
    let conversation = async move {
        let answer = deadline
            .limit("waiting for the answer", sender.send_request(request))
            .await
            .map_err(Broken::Silent)?
            .map_err(Broken::Head)?;
        let first_byte_ms = milliseconds(begun.elapsed());
        let (head, mut incoming) = answer.into_parts();
        let status = head.status.as_u16();
        let mut kept = Vec::new();
        let mut body_cut = false;
        while let Some(frame) = deadline
            .limit("waiting for the rest of the answer", incoming.frame())
            .await
            .map_err(|timed_out| Broken::BodySilent { status, timed_out })?
        {
            let frame = frame.map_err(|_| Broken::Body { status })?;
            if let Some(data) = frame.data_ref() {
                let room = body_bytes_max - kept.len();
                kept.extend_from_slice(data.get(..room).unwrap_or(data));
                if data.len() > room {
                    body_cut = true;
                    break;
                }
            }
        }
        Ok(Part {
            status,
            headers: head.headers,
            body: kept.into(),
            body_cut,
            first_byte_ms,
        })
    };
    let mut conversation = pin!(conversation);
    let mut connection = pin!(connection);
    let mut connected = true;
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(result) = conversation.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        // Its end, good or bad, reaches the conversation as the end of the answer.
        if connected && connection.as_mut().poll(cx).is_ready() {
            connected = false;
        }
        conversation.as_mut().poll(cx)
    })
    .await
}

/// Base64 with padding (RFC 4648 §4), which basic authentication needs and nothing else here.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for sextet in 0..4 {
            let index = (group >> (18 - 6 * sextet)) & 0x3f;
            text.push(if sextet <= chunk.len() {
                char::from(ALPHABET[index as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_repeats_a_secret_does_not_spread_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "open sesame\n").unwrap();
        let secret = Secret::File(path);
        let login = Options {
            basic_auth: Some(("Aladdin".to_owned(), secret.clone())),
            ..Options::default()
        };
        let bearer = Options {
            bearer: Some(secret),
            ..Options::default()
        };
        for (options, told, shown) in [
            (
                &login,
                "told: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==, so open sesame, open sesame!",
                "told: Basic [secret], so [secret], [secret]!",
            ),
            (&bearer, "open sesame", "[secret]"),
            (&login, "nothing of it", "nothing of it"),
            (&Options::default(), "open sesame", "open sesame"),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&options.without_secrets(told.as_bytes())),
                shown
            );
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_password_is_in_no_debug_output() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let secret = Secret::File(file.path().to_owned());
        let options = Options {
            basic_auth: Some(("u".to_owned(), secret)),
            ..Options::default()
        };
        let url = Url::parse("http://127.0.0.1:1/").unwrap();
        let request = build(Method::GET, &url, None, &options).unwrap();
        assert_eq!(request.headers()["authorization"], "Basic dTpodW50ZXIy");
        let shown = format!("{options:?} {request:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("dTpodW50ZXIy"),
            "{shown}"
        );
    }
}
