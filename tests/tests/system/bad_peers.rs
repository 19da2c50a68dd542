//! What must not come in on the aggregator's port: other protocols, silence, messages that break the rules. Each costs its
//! sender the connection or the session, leaves a line in the log, and nobody else notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use blackstart_proto::limits::{
    BATCH_RESULTS_MAX, COMPONENT_ID_BYTES_MAX, DETAIL_BYTES_MAX, MESSAGE_BYTES_MAX,
};
use blackstart_proto::transport::{Timeouts, connect};
use blackstart_proto::v1::agent_service_client::AgentServiceClient;
use blackstart_proto::v1::session_request::Kind as Request;
use blackstart_proto::v1::session_response::Kind as Response;
use blackstart_proto::v1::{
    Batch, DiscoveredComponent, Discovery, Facts, Hello, RefusalCode, Result as ResultMessage,
    SessionRequest, Status, TargetDefinition,
};
use blackstart_tests::{Daemon, Port, TempHome, free_port, wait_until};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use crate::parts::{START, aggregator, ask, condition};

/// Longer than the aggregator waits for first words: ten seconds.
const HANGS_UP: Duration = Duration::from_secs(40);

struct Under {
    _home: TempHome,
    port: Port,
    aggregating: Daemon,
}

impl Under {
    fn attack(name: &str) -> Self {
        let home = TempHome::new(name);
        let port = free_port();
        let mut aggregating = aggregator(home.path(), port.number());
        aggregating.wait_ready(START, || ask(port.number(), &["status"]).1 != 3);
        Self {
            _home: home,
            port,
            aggregating,
        }
    }

    /// Sends bytes and reads until the other side hangs up.
    fn send(&self, bytes: &[u8]) {
        let mut stream = TcpStream::connect(self.port.address()).expect("the port is open");
        stream.set_read_timeout(Some(HANGS_UP)).expect("a timeout");
        // It may hang up while it is written.
        stream.write_all(bytes).unwrap_or(());
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("it does not hang up: {error}"),
        }
    }

    /// How many lines of the log contain the text.
    fn told(&self, text: &str) -> usize {
        self.aggregating
            .log()
            .lines()
            .filter(|line| line.contains(text))
            .count()
    }
}

#[test]
fn other_protocols_and_silence_are_told_and_closed_while_others_are_served() {
    let mut under = Under::attack("garbage");
    let mut random = ChaCha8Rng::seed_from_u64(1901);
    let noise: Vec<u8> = (0..70_000).map(|_| random.random()).collect();
    let not_grpc = "it does not speak gRPC (HTTP/2)";
    for (bytes, line) in [
        (
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            "it speaks HTTP/1; here is gRPC, which is HTTP/2 only",
        ),
        (
            b"POST /blackstart.v1.AgentService/Session HTTP/1.1\r\n\r\n",
            "it speaks HTTP/1; here is gRPC, which is HTTP/2 only",
        ),
        // The beginning of a ClientHello.
        (
            &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
            "it speaks TLS, and this aggregator has no [tls] table",
        ),
        (&noise, not_grpc),
        (&[0; 100], not_grpc),
        (b"SSH-2.0-OpenSSH_9.2\r\n", not_grpc),
    ] {
        let before = under.told(line);
        under.send(bytes);
        wait_until(line, START, || under.told(line) == before + 1);
        assert_ne!(
            ask(under.port.number(), &["status"]).1,
            3,
            "it answers others"
        );
    }
    // HTTP/2 that goes wrong behind its first words, and a look whether the port is open, are not worth a line.
    let lines = under.told("connection refused at the door");
    under.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    drop(TcpStream::connect(under.port.address()).expect("the port is open"));
    // Who says nothing, or half of it, is let go.
    let silent = TcpStream::connect(under.port.address()).expect("the port is open");
    let mut half = TcpStream::connect(under.port.address()).expect("the port is open");
    half.write_all(b"PRI * HTTP/2").expect("it reads");
    for mut stream in [silent, half] {
        stream.set_read_timeout(Some(HANGS_UP)).expect("a timeout");
        let mut rest = Vec::new();
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset,
                "it does not hang up"
            );
        }
    }
    let silence = "it said nothing that makes sense within 10 s";
    wait_until(silence, START, || under.told(silence) == 2);
    assert_eq!(under.told("connection refused at the door"), lines + 2);
    assert_ne!(
        ask(under.port.number(), &["status"]).1,
        3,
        "it answers others"
    );
    assert!(under.aggregating.is_running());
}

fn hello(host: &str) -> Hello {
    Hello {
        protocol_min: 1,
        protocol_max: 1,
        host: host.to_owned(),
        boot_id: "boot".to_owned(),
        incarnation: 7,
        sent_boottime_us: 1_000_000,
        ..Hello::default()
    }
}

fn definition() -> TargetDefinition {
    TargetDefinition {
        target: 0,
        component: "c".to_owned(),
        check: "test".to_owned(),
        value_names: vec!["a".to_owned()],
        ttl_ms: 60_000,
    }
}

fn result() -> ResultMessage {
    ResultMessage {
        target: 0,
        sampled_boottime_us: 1_000_000,
        status: Status::Ok.into(),
        detail: Some("fine".to_owned()),
        ..ResultMessage::default()
    }
}

fn batch(results: Vec<ResultMessage>) -> Batch {
    Batch {
        incarnation: 7,
        boot_id: "boot".to_owned(),
        first_sequence: 1,
        sent_boottime_us: 1_000_000,
        definitions: vec![definition()],
        results,
        ..Batch::default()
    }
}

/// How a session ended.
#[derive(Debug, PartialEq)]
enum Ended {
    Refused(RefusalCode, String),
    Broken(tonic::Code, String),
    Closed,
}

/// Sends the messages on a stream of its own, and reads until its end.
async fn session(port: &Port, messages: Vec<Request>) -> Ended {
    let address = port.address().into();
    let channel = connect(&address, None, Timeouts::default())
        .await
        .expect("the aggregator answers");
    // Our own limit must not be what stops an oversized message.
    let mut client = AgentServiceClient::new(channel).max_encoding_message_size(64 << 20);
    let (sender, receiver) = mpsc::channel(8);
    for message in messages {
        let request = SessionRequest {
            kind: Some(message),
        };
        sender.send(request).await.expect("there is room");
    }
    let mut answers = match client.session(ReceiverStream::new(receiver)).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return Ended::Broken(status.code(), status.message().to_owned()),
    };
    let ended = async {
        loop {
            match answers.message().await {
                Ok(Some(message)) => {
                    if let Some(Response::Refusal(refusal)) = message.kind {
                        return Ended::Refused(refusal.code(), refusal.reason);
                    }
                }
                Ok(None) => return Ended::Closed,
                Err(status) => return Ended::Broken(status.code(), status.message().to_owned()),
            }
        }
    };
    let ended = timeout(HANGS_UP, ended).await.expect("the session ends");
    drop(sender);
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_breaks_the_rules_is_refused_by_its_field() {
    let mut under = Under::attack("bad-messages");
    let long = "x".repeat(COMPONENT_ID_BYTES_MAX + 1);
    let id = "1 to 256 bytes without control characters and without space around them";
    let shown = format!("\"{}…", "x".repeat(59));
    let with = |change: &dyn Fn(&mut Batch)| {
        let mut bad = batch(vec![result()]);
        change(&mut bad);
        vec![Request::Hello(hello("h")), Request::Batch(bad)]
    };
    let discovers = |component: DiscoveredComponent| {
        let discovery = Discovery {
            components: vec![component],
        };
        vec![Request::Hello(hello("h")), Request::Discovery(discovery)]
    };
    let rows: Vec<(Vec<Request>, String)> = vec![
        (
            vec![Request::Facts(Facts::default())],
            "first message is \"something else\", expected a hello".to_owned(),
        ),
        (vec![Request::Hello(hello(""))], format!("hello.host is \"\", expected {id}")),
        (vec![Request::Hello(hello(" h"))], format!("hello.host is \" h\", expected {id}")),
        (vec![Request::Hello(hello("a\x1b[2Jb"))], format!("hello.host is \"a\\u{{1b}}[2Jb\", expected {id}")),
        (vec![Request::Hello(hello(&long))], format!("hello.host is {shown}, expected {id}")),
        (
            vec![Request::Hello(hello("h")), Request::Hello(hello("h"))],
            "message is \"a second hello\", expected one a stream".to_owned(),
        ),
        (
            with(&|batch| batch.results[0].status = 9),
            "batch.results[0].status is 9, expected a status from 1 to 5".to_owned(),
        ),
        (
            with(&|batch| batch.results[0].status = 0),
            "batch.results[0].status is 0, expected a status from 1 to 5".to_owned(),
        ),
        (
            with(&|batch| {
                batch.results[0].status = Status::Starting.into();
                batch.results[0].progress = Some(f32::NAN);
            }),
            "batch.results[0].progress is NaN, expected 0 to 1".to_owned(),
        ),
        (
            with(&|batch| batch.results[0].progress = Some(0.5)),
            "batch.results[0].progress is 0.5, expected none, as its status is not STATUS_STARTING".to_owned(),
        ),
        (
            with(&|batch| batch.results[0].detail = Some("x".repeat(DETAIL_BYTES_MAX + 1))),
            format!("batch.results[0].detail is {shown}, expected 512 bytes at most"),
        ),
        (
            with(&|batch| batch.results[0].target = 3),
            "batch.results[0].target is 3, expected a target that was defined on this stream".to_owned(),
        ),
        (
            with(&|batch| batch.results[0].values = vec![1.0, 2.0]),
            "batch.results[0].values is 2, expected 1 entries at most, as defined".to_owned(),
        ),
        (
            with(&|batch| batch.results = vec![result(); BATCH_RESULTS_MAX + 1]),
            "batch.results is 1001, expected 1000 entries at most".to_owned(),
        ),
        (
            with(&|batch| batch.first_sequence = 0),
            "batch.first_sequence is 0, expected a sequence, counted from 1".to_owned(),
        ),
        (
            with(&|batch| batch.definitions[0].ttl_ms = 0),
            "batch.definitions[0].ttl_ms is 0, expected 1 to 691200000".to_owned(),
        ),
        (
            with(&|batch| batch.definitions[0].component = "a\nb".to_owned()),
            format!("batch.definitions[0].component is \"a\\nb\", expected {id}"),
        ),
        (
            with(&|batch| batch.definitions[0].target = 4_000_000_000),
            "batch.definitions[0].target is 4000000000, expected a number below 10000".to_owned(),
        ),
        (
            discovers(DiscoveredComponent {
                id: "h/x".to_owned(),
                kind: String::new(),
                ..DiscoveredComponent::default()
            }),
            "discovery.components[0].kind is \"\", expected 1 to 128 bytes without control characters and without space around them"
                .to_owned(),
        ),
    ];
    for (messages, reason) in rows {
        let ended = session(&under.port, messages).await;
        assert_eq!(ended, Ended::Refused(RefusalCode::Invalid, reason.clone()));
        under
            .aggregating
            .wait_log(&format!("refused: {reason}"), START);
    }
    let mut old = hello("h");
    (old.protocol_min, old.protocol_max) = (7, 9);
    let ended = session(&under.port, vec![Request::Hello(old)]).await;
    let reason =
        "the agent speaks protocol 7 to 9, this aggregator speaks 1; upgrade the older of the two";
    assert_eq!(
        ended,
        Ended::Refused(RefusalCode::Protocol, reason.to_owned())
    );

    // A message above the limit does not even get to its fields.
    let large = with(&|batch| {
        let mut fat = result();
        fat.detail = Some("x".repeat(MESSAGE_BYTES_MAX));
        batch.results = vec![fat];
    });
    let ended = session(&under.port, large).await;
    assert!(
        matches!(&ended, Ended::Broken(tonic::Code::OutOfRange, why) if why.contains("the limit is: 4194304 bytes")),
        "{ended:?}"
    );
    under
        .aggregating
        .wait_log("the limit is: 4194304 bytes", START);
    // A stream that is opened and says nothing.
    assert_eq!(session(&under.port, Vec::new()).await, Ended::Closed);
    wait_until("a line about the silent stream", START, || {
        under.told("agent not welcomed") > 0 && under.told("said nothing within 10 s") == 1
    });

    // Nothing of it was taken, and a good agent of the same host is welcome.
    assert_eq!(condition(under.port.number(), "c"), None);
    let good = batch(vec![ResultMessage {
        values: vec![f64::NAN],
        detail: Some("fine\x1b[2J".to_owned()),
        ..result()
    }]);
    let port = under.port.address().port();
    let good = vec![Request::Hello(hello("h")), Request::Batch(good)];
    let talking = session(&under.port, good);
    let seen = async {
        tokio::task::spawn_blocking(move || {
            wait_until("the good result to be seen", START, || {
                let (status, _) = ask(port, &["status"]);
                status["components"].as_array().is_some_and(|all| {
                    // Not measured is not there; what drives a terminal is a space.
                    all.iter().any(|c| {
                        c["id"] == "c"
                            && c["condition"] == "up"
                            && c["reason"] == "fine [2J"
                            && c["values"] == serde_json::json!({})
                    })
                })
            });
        })
        .await
        .expect("it was seen");
    };
    tokio::select! {
        ended = talking => panic!("the good session ended: {ended:?}"),
        () = seen => {}
    }
    assert!(under.aggregating.is_running());
}
