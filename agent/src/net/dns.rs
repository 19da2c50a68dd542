//! One question to one DNS server, over UDP or TCP, and what came back of it.
//!
//! No resolver: no cache, no retry, no search list, no fallback that hides what a server said. The message goes
//! out as it was prepared when the probe was configured; only its id is drawn for each run.

pub mod extended;

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use rand::RngExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::connect::reason;
use super::milliseconds;
use crate::probe::{Deadline, TimedOut};
use extended::ExtendedError;

/// The answer size that we offer over UDP: what passes unfragmented everywhere (DNS Flag Day 2020).
const UDP_PAYLOAD_MAX: u16 = 1232;

/// The room for a datagram: more than we offer, as some servers do not listen.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// The most records of an answer that are looked at: a long list is judged by its beginning and its length is bounded.
const RECORDS_MAX: usize = 64;

/// How a question is put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// RD: the server shall find the answer for us.
    pub recursion: bool,
    /// CD: the server shall not check signatures.
    pub checking_disabled: bool,
    /// AD: we want to know whether signatures were checked (RFC 6840 §5.7).
    pub authenticated: bool,
}

/// A question, ready to be sent.
#[derive(Debug, Clone)]
pub struct Question {
    name: Name,
    record_type: RecordType,
    wire: Vec<u8>,
}

/// What came back of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Exchange {
    /// An answer, whatever it says.
    Answered(Answer),
    /// Nothing.
    Silent(TimedOut),
    /// Nobody listens: an ICMP message over UDP, a reset over TCP.
    Refused,
    /// The network knows no way.
    Unreachable(String),
    /// The server closed the connection (TCP only).
    Closed,
    /// What came is no DNS answer to this question.
    Garbage(String),
    /// The question could not be sent; says nothing of the server.
    Local(String),
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The response code.
    pub rcode: ResponseCode,
    /// AA: the server speaks with authority.
    pub authoritative: bool,
    /// TC: there was more than fitted.
    pub truncated: bool,
    /// RA: the server resolves for others.
    pub recursion_available: bool,
    /// AD: signatures were checked and are good.
    pub authenticated: bool,
    /// The records of the type that was asked for, as text, sorted.
    pub records: Vec<String>,
    /// The shortest time to live among them.
    pub ttl_s: Option<u32>,
    /// The serial of a SOA record in the answer.
    pub serial: Option<u32>,
    /// What the server adds in words (RFC 8914).
    pub extended: Vec<ExtendedError>,
    /// How long it took.
    pub rtt_ms: f64,
}

impl Question {
    /// Prepares a question.
    #[must_use]
    pub fn new(name: Name, record_type: RecordType, flags: Flags) -> Self {
        let mut message = Message::new(0, hickory_proto::op::MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = flags.recursion;
        message.metadata.checking_disabled = flags.checking_disabled;
        message.metadata.authentic_data = flags.authenticated;
        message.add_query(Query::query(name.clone(), record_type));
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD_MAX);
        message.set_edns(edns);
        // A name that was parsed fits into a message; an empty one would be answered with FORMERR.
        let wire = message.to_vec().unwrap_or_default();
        Self {
            name,
            record_type,
            wire,
        }
    }

    /// The message with a fresh id.
    fn with_id(&self) -> (u16, Vec<u8>) {
        let id: u16 = rand::rng().random();
        let mut wire = self.wire.clone();
        if let Some(first) = wire.get_mut(..2) {
            first.copy_from_slice(&id.to_be_bytes());
        }
        (id, wire)
    }

    /// Asks over UDP, once.
    pub async fn ask_udp(&self, server: SocketAddr, deadline: Deadline) -> Exchange {
        let begun = Instant::now();
        let (id, wire) = self.with_id();
        let asked = async {
            let any: IpAddr = match server {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind((any, 0)).await?;
            // Connected, so that the kernel drops what others send and hands ICMP errors to us.
            socket.connect(server).await?;
            socket.send(&wire).await?;
            let mut buffer = [0; DATAGRAM_BYTES_MAX];
            loop {
                let length = socket.recv(&mut buffer).await?;
                let datagram = buffer.get(..length).unwrap_or_default();
                // An answer to another question is a late or a forged one: it is waited past.
                if datagram.get(..2) == Some(&id.to_be_bytes()) {
                    return Ok(datagram.to_vec());
                }
            }
        };
        match deadline.limit("asking over UDP", asked).await {
            Ok(Ok(datagram)) => self.read(&datagram, begun),
            Ok(Err(error)) => from_io(&error),
            Err(timed_out) => Exchange::Silent(timed_out),
        }
    }

    /// Asks over TCP, on a connection of its own.
    pub async fn ask_tcp(&self, server: SocketAddr, deadline: Deadline) -> Exchange {
        let begun = Instant::now();
        let (_, wire) = self.with_id();
        let asked = async {
            let mut stream = TcpStream::connect(server).await?;
            let length = u16::try_from(wire.len()).unwrap_or_default();
            let mut framed = length.to_be_bytes().to_vec();
            framed.extend_from_slice(&wire);
            stream.write_all(&framed).await?;
            let length = stream.read_u16().await?;
            let mut message = vec![0; usize::from(length)];
            stream.read_exact(&mut message).await?;
            Ok(message)
        };
        match deadline.limit("asking over TCP", asked).await {
            Ok(Ok(message)) if message.get(..2) != wire.get(..2) => {
                Exchange::Garbage("the answer is to another question".to_owned())
            }
            Ok(Ok(message)) => self.read(&message, begun),
            Ok(Err(error)) => from_io(&error),
            Err(timed_out) => Exchange::Silent(timed_out),
        }
    }

    fn read(&self, message: &[u8], begun: Instant) -> Exchange {
        let rtt_ms = milliseconds(begun.elapsed());
        let message = match Message::from_vec(message) {
            Ok(message) => message,
            Err(error) => return Exchange::Garbage(error.to_string()),
        };
        let metadata = &message.metadata;
        if metadata.message_type != hickory_proto::op::MessageType::Response {
            return Exchange::Garbage("a question came back instead of an answer".to_owned());
        }
        // Servers that refuse may leave the question out.
        if let Some(question) = message.queries.first()
            && (question.query_type() != self.record_type
                || question.name().to_lowercase() != self.name.to_lowercase())
        {
            return Exchange::Garbage("the answer is to another question".to_owned());
        }
        let of_type = || {
            message
                .answers
                .iter()
                .filter(|record| record.record_type() == self.record_type)
                .take(RECORDS_MAX)
        };
        let mut records: Vec<_> = of_type().map(|record| show(&record.data)).collect();
        records.sort_unstable();
        let serial = message
            .answers
            .iter()
            .find_map(|record| match &record.data {
                RData::SOA(soa) => Some(soa.serial),
                _ => None,
            });
        Exchange::Answered(Answer {
            rcode: metadata.response_code,
            authoritative: metadata.authoritative,
            truncated: metadata.truncation,
            recursion_available: metadata.recursion_available,
            authenticated: metadata.authentic_data,
            ttl_s: of_type().map(|record| record.ttl).min(),
            records,
            serial,
            extended: message
                .edns
                .as_ref()
                .map(ExtendedError::all_of)
                .unwrap_or_default(),
            rtt_ms,
        })
    }
}

/// A record's data as text, in the form in which answers are compared; see [`comparable`].
fn show(data: &RData) -> String {
    let mut text = String::new();
    // Some kinds of records have no text; they compare as empty.
    let _ = write!(text, "{data}");
    comparable(&text)
}

/// Names without their last dot and in small letters, as DNS compares them.
#[must_use]
pub fn comparable(text: &str) -> String {
    let text = text.trim();
    text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()
}

fn from_io(error: &io::Error) -> Exchange {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Exchange::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::TimedOut => {
            Exchange::Unreachable(reason(error))
        }
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
            Exchange::Closed
        }
        _ => Exchange::Local(reason(error)),
    }
}

/// Whether the serial `a` is older than `b` (RFC 1982 §3.2): the numbers go round.
#[must_use]
pub const fn serial_is_older(a: u32, b: u32) -> bool {
    a != b && b.wrapping_sub(a) < 1 << 31
}

/// The usual short name of a response code.
#[must_use]
pub fn show_rcode(rcode: ResponseCode) -> String {
    match rcode {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        other => format!("response code {}", u16::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;
    use std::time::Duration;

    use super::*;

    #[test]
    fn serials_go_round() {
        for (a, b, older) in [
            (1, 2, true),
            (2, 2, false),
            (3, 2, false),
            (u32::MAX, 0, true),
            (0, u32::MAX, false),
        ] {
            assert_eq!(serial_is_older(a, b), older, "{a} {b}");
        }
    }

    #[tokio::test]
    async fn garbage_is_garbage_and_another_id_is_waited_past() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let question = Question::new(
            Name::from_str("a.test.").unwrap(),
            RecordType::A,
            Flags::default(),
        );
        let answering = async {
            let mut buffer = [0; 512];
            let (length, client) = server.recv_from(&mut buffer).await.unwrap();
            let forged = [!buffer[0], buffer[1], 0x80, 0];
            server.send_to(&forged, client).await.unwrap();
            server.send_to(&buffer[..length], client).await.unwrap();
        };
        let deadline = Deadline::after(Duration::from_secs(5));
        let (exchange, ()) = tokio::join!(question.ask_udp(address, deadline), answering);
        assert_eq!(
            exchange,
            Exchange::Garbage("a question came back instead of an answer".to_owned())
        );
    }

    #[tokio::test]
    async fn a_closed_port_refuses_over_udp_and_tcp() {
        let address = UdpSocket::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let question = Question::new(Name::root(), RecordType::NS, Flags::default());
        let deadline = Deadline::after(Duration::from_secs(5));
        assert_eq!(question.ask_udp(address, deadline).await, Exchange::Refused);
        assert_eq!(question.ask_tcp(address, deadline).await, Exchange::Refused);
    }
}
