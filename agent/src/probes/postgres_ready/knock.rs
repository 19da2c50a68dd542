//! Knocks at PostgreSQL without a login, as `pg_isready` does: a start-up packet, and the first message back.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::judge::{Attempt, ServerError};
use crate::net::{Address, connect};
use crate::probe::Deadline;

/// Version 3.0 of the protocol, the only one in use since 2003.
const PROTOCOL: i32 = 3 << 16;

/// Who knocks. The role need not exist: most servers ask for a password before they look it up.
const USER: &str = "blackstart";

/// The longest first message that is read; an error with all its fields has some hundred bytes.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// Asks to be let in, and does not answer what is asked back.
pub(super) async fn knock(address: &Address, deadline: Deadline) -> Attempt {
    let mut stream = match connect(address, None, deadline).await {
        Ok(connected) => connected.stream,
        Err(failure) => return Attempt::Unreached(failure),
    };
    let exchange = async {
        stream.write_all(&start_up()).await?;
        stream.flush().await?;
        let kind = stream.read_u8().await?;
        // The length counts itself.
        let length = usize::try_from(stream.read_i32().await?)
            .unwrap_or(0)
            .saturating_sub(4);
        let mut body = vec![0; length.min(MESSAGE_BYTES_MAX)];
        stream.read_exact(&mut body).await?;
        // Where nobody is asked for a password the session is open, and is ended in order (Terminate). Where one is
        // asked for, the server is content with a client that leaves, and complains in its log of any other answer.
        if kind == b'R' && body.starts_with(&[0, 0, 0, 0]) {
            let _ = stream.write_all(&[b'X', 0, 0, 0, 4]).await;
        }
        Ok::<_, std::io::Error>((kind, body))
    };
    match deadline
        .limit("waiting for the answer to a start-up packet", exchange)
        .await
    {
        Err(timed_out) => Attempt::Silent(timed_out),
        Ok(Err(error)) => Attempt::Broken(format!("connects, then the connection broke: {error}")),
        Ok(Ok((b'R', _))) => Attempt::Greeted,
        Ok(Ok((b'E', body))) => match error_fields(&body) {
            // Whoever knocks under a name that nobody knows is turned away: the door is open.
            error if matches!(error.code.as_str(), "28000" | "28P01" | "3D000") => Attempt::Greeted,
            error => Attempt::Refused(error),
        },
        Ok(Ok(_)) => {
            Attempt::Broken("what answers does not speak PostgreSQL's protocol".to_owned())
        }
    }
}

fn start_up() -> Vec<u8> {
    let mut packet = vec![0; 4];
    packet.extend(PROTOCOL.to_be_bytes());
    for text in [
        "user",
        USER,
        "database",
        "postgres",
        "application_name",
        "blackstart",
    ] {
        packet.extend(text.as_bytes());
        packet.push(0);
    }
    packet.push(0);
    let length = i32::try_from(packet.len()).unwrap_or_default();
    packet.splice(..4, length.to_be_bytes());
    packet
}

/// Reads an `ErrorResponse`: fields of one letter and a text that ends with a zero byte.
fn error_fields(body: &[u8]) -> ServerError {
    let mut error = ServerError::default();
    for field in body.split(|&byte| byte == 0) {
        let Some((kind, text)) = field.split_first() else {
            break;
        };
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            b'C' => error.code = text,
            b'M' => error.message = text,
            b'D' => error.detail = text,
            _ => {}
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_says_its_own_length() {
        let packet = start_up();
        assert_eq!(
            packet[..8],
            [0, 0, 0, u8::try_from(packet.len()).unwrap(), 0, 3, 0, 0]
        );
        assert!(packet.ends_with(b"blackstart\0\0"));
    }

    #[test]
    fn an_error_is_read_and_garbage_is_none() {
        let error = error_fields(b"SFATAL\0C57P03\0Mthe database system is starting up\0\0");
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("57P03", "the database system is starting up")
        );
        for garbage in [&b""[..], b"\0\0\0", b"C", b"\xff\xfe"] {
            assert_eq!(error_fields(garbage).message, "");
        }
    }
}
