//! A D-Bus client that asks one question after the other: for systemd's private socket, and for the system bus.
//!
//! zbus does the encoding. Its connection is of no use here: systemd signs what it says on its private socket with a
//! name that zbus refuses, and a task that listens all day is more than a question now and then needs.
//! References are to the D-Bus specification.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{BE, Endian, LE, to_bytes};
use zbus::{DynamicType, ObjectPath, OwnedVariant, Type, Variant};

use crate::probe::{Deadline, TimedOut};

/// The longest message that is read. A list of a thousand failed units has 300 KiB; the protocol would allow 128 MiB.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The longest line of the authentication.
const LINE_BYTES_MAX: usize = 512;

/// The most messages that are read past while waiting for an answer: a bus greets with a signal or two.
const SKIPPED_MAX: usize = 64;

/// The length of a message's fixed beginning with the length of its fields.
const FIXED_BYTES: usize = 16;

/// Message types and header fields (§ Message Format).
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
const FIELD_MEMBER: u8 = 3;
const FIELD_ERROR_NAME: u8 = 4;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SIGNATURE: u8 = 8;

/// A connection.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
}

/// What is called.
#[derive(Debug, Clone, Copy)]
pub struct Method<'a> {
    /// The service's name.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The socket cannot be used.
    #[error("cannot talk over the socket")]
    Io(#[from] io::Error),
    /// Who we are is not good enough.
    #[error("not let in")]
    NotLetIn,
    /// A step took too long.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// The answer is an error.
    #[error("{name}: {text}")]
    Answered {
        /// The error's name.
        name: String,
        /// What it says.
        text: String,
    },
    /// What came does not follow the protocol.
    #[error("what answers does not speak D-Bus: {0}")]
    Protocol(String),
}

impl From<zbus::Error> for BusError {
    fn from(error: zbus::Error) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// A message as read: its kind, the fields that count, and its body.
struct Message {
    kind: u8,
    reply_to: Option<u32>,
    error_name: Option<String>,
    signature: String,
    endian: Endian,
    body: Vec<u8>,
}

impl Bus {
    /// Connects to a peer with no bus in between, as systemd's private socket.
    ///
    /// # Errors
    /// The socket cannot be reached, or we are not let in.
    pub async fn peer(socket: &Path, deadline: Deadline) -> Result<Self, BusError> {
        let stream = deadline
            .limit("connecting", UnixStream::connect(socket))
            .await??;
        let mut bus = Self { stream, serial: 0 };
        deadline.limit("logging in", bus.log_in()).await??;
        Ok(bus)
    }

    /// Connects to a bus.
    ///
    /// # Errors
    /// The socket cannot be reached, or we are not let in.
    pub async fn bus(socket: &Path, deadline: Deadline) -> Result<Self, BusError> {
        let mut bus = Self::peer(socket, deadline).await?;
        let hello = Method {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
        };
        let _our_name: String = bus.call(hello, &(), deadline).await?;
        Ok(bus)
    }

    /// § Authentication Protocol: `EXTERNAL`, by the user that the kernel vouches for.
    async fn log_in(&mut self) -> Result<(), BusError> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let hex: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        // All in one, as libsystemd does: a BEGIN that reaches systemd together with the first question makes it
        // overlook the question until the next one comes.
        let words = format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n");
        self.stream.write_all(words.as_bytes()).await?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() >= LINE_BYTES_MAX {
                return Err(BusError::Protocol("a line without an end".to_owned()));
            }
            line.push(self.stream.read_u8().await?);
        }
        if line.starts_with(b"REJECTED") {
            return Err(BusError::NotLetIn);
        }
        if !line.starts_with(b"OK") {
            return Err(BusError::Protocol(
                String::from_utf8_lossy(&line).trim().to_owned(),
            ));
        }
        Ok(())
    }

    /// Calls a method and waits for its answer. The arguments are a tuple.
    ///
    /// # Errors
    /// There is no answer, it is an error, or it is of another type.
    pub async fn call<B, R>(
        &mut self,
        method: Method<'_>,
        arguments: &B,
        deadline: Deadline,
    ) -> Result<R, BusError>
    where
        B: Serialize + DynamicType + Sync,
        R: DeserializeOwned + Type,
    {
        self.serial = self.serial.wrapping_add(1).max(1);
        let question = encode(method, arguments, self.serial)?;
        let exchange = async {
            self.stream.write_all(&question).await?;
            for _ in 0..SKIPPED_MAX {
                let message = self.read().await?;
                if message.reply_to == Some(self.serial) {
                    return Ok(message);
                }
            }
            Err(BusError::Protocol(
                "no answer among many messages".to_owned(),
            ))
        };
        let answer = deadline.limit("waiting for the answer", exchange).await??;
        match answer.kind {
            METHOD_RETURN => answer.value(),
            _ => Err(BusError::Answered {
                text: answer.value().unwrap_or_default(),
                name: answer.error_name.unwrap_or_default(),
            }),
        }
    }

    async fn read(&mut self) -> Result<Message, BusError> {
        let mut head = vec![0; FIXED_BYTES];
        self.stream.read_exact(&mut head).await?;
        let number = |at: usize| -> Result<usize, BusError> {
            let bytes = head
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .unwrap_or_default();
            let number = match head.first() {
                Some(b'l') => u32::from_le_bytes(bytes),
                Some(b'B') => u32::from_be_bytes(bytes),
                _ => return Err(BusError::Protocol("a message of no byte order".to_owned())),
            };
            usize::try_from(number)
                .map_err(|_| BusError::Protocol("a length beyond all".to_owned()))
        };
        let (body, fields) = (number(4)?, number(12)?);
        if body.saturating_add(fields) > MESSAGE_BYTES_MAX {
            return Err(BusError::Protocol(format!("a message of {body} bytes")));
        }
        let endian = if head.first() == Some(&b'l') { LE } else { BE };
        head.resize((FIXED_BYTES + fields).next_multiple_of(8), 0);
        if let Some(rest) = head.get_mut(FIXED_BYTES..) {
            self.stream.read_exact(rest).await?;
        }
        let mut bytes = vec![0; body];
        self.stream.read_exact(&mut bytes).await?;
        Message::decode(head, bytes, endian)
    }
}

/// A message's beginning: byte order, type, flags, version, length of the body, serial, fields.
type Header<F> = (u8, u8, u8, u8, u32, u32, Vec<(u8, F)>);

fn encode<B: Serialize + DynamicType>(
    method: Method<'_>,
    arguments: &B,
    serial: u32,
) -> Result<Vec<u8>, BusError> {
    let body = to_bytes(Context::new(LE, 0), arguments)?;
    let length =
        u32::try_from(body.len()).map_err(|_| BusError::Protocol("too long".to_owned()))?;
    let fields = vec![
        (
            FIELD_PATH,
            Variant::from(ObjectPath::try_from(method.path)?),
        ),
        (FIELD_INTERFACE, Variant::from(method.interface)),
        (FIELD_MEMBER, Variant::from(method.member)),
        (FIELD_DESTINATION, Variant::from(method.destination)),
    ];
    let header: Header<Variant<'_>> = (b'l', METHOD_CALL, 0, 1, length, serial, fields);
    let mut message = to_bytes(Context::new(LE, 0), &header)?.to_vec();
    if length > 0 {
        // Arguments stand one after the other: their types without the parentheses of a tuple, which only
        // a field written by hand can hold.
        let signature = arguments.signature().to_string();
        let inner = signature
            .strip_prefix('(')
            .and_then(|inner| inner.strip_suffix(')'));
        let inner = inner.unwrap_or(&signature);
        let letters =
            u8::try_from(inner.len()).map_err(|_| BusError::Protocol("too long".to_owned()))?;
        message.resize(message.len().next_multiple_of(8), 0);
        message.extend_from_slice(&[FIELD_SIGNATURE, 1, b'g', 0, letters]);
        message.extend_from_slice(inner.as_bytes());
        message.push(0);
        let fields = u32::try_from(message.len() - FIXED_BYTES).unwrap_or_default();
        if let Some(place) = message.get_mut(12..FIXED_BYTES) {
            place.copy_from_slice(&fields.to_le_bytes());
        }
    }
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend_from_slice(&body);
    Ok(message)
}

impl Message {
    fn decode(head: Vec<u8>, body: Vec<u8>, endian: Endian) -> Result<Self, BusError> {
        let head = Data::new(head, Context::new(endian, 0));
        let (header, _): (Header<OwnedVariant>, usize) = head.deserialize()?;
        let mut message = Self {
            kind: header.1,
            reply_to: None,
            error_name: None,
            signature: String::new(),
            endian,
            body,
        };
        for (field, value) in header.6 {
            match (field, &*value) {
                (FIELD_REPLY_SERIAL, Variant::U32(serial)) => message.reply_to = Some(*serial),
                (FIELD_ERROR_NAME, Variant::Str(name)) => {
                    message.error_name = Some(name.to_string());
                }
                (FIELD_SIGNATURE, Variant::Signature(signature)) => {
                    message.signature = plain(&signature.to_string()).to_owned();
                }
                _ => {}
            }
        }
        // Signals are answers to nothing, whatever they hold.
        if !matches!(message.kind, METHOD_RETURN | ERROR) {
            message.reply_to = None;
        }
        Ok(message)
    }

    fn value<R: DeserializeOwned + Type>(&self) -> Result<R, BusError> {
        let expected = R::SIGNATURE.to_string();
        if self.signature != plain(&expected) {
            return Err(BusError::Protocol(format!(
                "an answer of type {:?} instead of {expected:?}",
                self.signature
            )));
        }
        let body = Data::new(self.body.as_slice(), Context::new(self.endian, 0));
        Ok(body.deserialize::<R>()?.0)
    }
}

/// One complete type in parentheses that only hold it together.
fn plain(signature: &str) -> &str {
    signature
        .strip_prefix('(')
        .and_then(|inner| inner.strip_suffix(')'))
        .filter(|inner| !inner.contains(['(', ')']))
        .unwrap_or(signature)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::UnixListener;

    use super::*;

    const METHOD: Method<'_> = Method {
        destination: "a.b",
        path: "/a",
        interface: "a.b.C",
        member: "Get",
    };

    #[test]
    fn a_call_is_encoded_as_the_specification_says() {
        let message = encode(METHOD, &("x", "y"), 7).unwrap();
        assert_eq!(message[..4], [b'l', 1, 0, 1]);
        // Two strings: length, text and NUL, the second one aligned to four.
        assert_eq!(message[4..12], [14, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(
            message[message.len() - 14..],
            *b"\x01\0\0\0x\0\0\0\x01\0\0\0y\0"
        );
        assert!(
            message.windows(4).any(|window| window == b"\x02ss\0"),
            "{message:?}"
        );
    }

    #[tokio::test]
    async fn what_is_no_bus_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        for (line, expected) in [
            ("REJECTED EXTERNAL\r\n", "not let in"),
            (
                "220 mail\r\n",
                "what answers does not speak D-Bus: 220 mail",
            ),
        ] {
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 64];
                let length = stream.read(&mut asked).await.unwrap();
                assert!(asked[..length].starts_with(b"\0AUTH EXTERNAL "));
                stream.write_all(line.as_bytes()).await.unwrap();
            };
            let (bus, ()) = tokio::join!(
                Bus::peer(&path, Deadline::after(Duration::from_secs(5))),
                serve
            );
            assert_eq!(bus.unwrap_err().to_string(), expected);
        }
    }

    #[tokio::test]
    async fn a_huge_message_is_refused_before_it_is_read() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut bus = Bus {
            stream: ours,
            serial: 0,
        };
        theirs
            .write_all(b"l\x02\0\x01\xff\xff\xff\x7f\x01\0\0\0\0\0\0\0")
            .await
            .unwrap();
        let error = bus.read().await.err().unwrap().to_string();
        assert_eq!(
            error,
            "what answers does not speak D-Bus: a message of 2147483647 bytes"
        );
    }
}
