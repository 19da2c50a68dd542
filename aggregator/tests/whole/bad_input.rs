//! Messages and bytes that break the protocol, and what becomes of them: a reason, and no harm.

use std::io::{Read, Write};
use std::time::Duration;

use blackstart_proto::v1;
use v1::session_request::Kind as Ask;

use crate::agent::{Agent, Aggregator, batch, hello, result};
use crate::binary::command;

#[tokio::test]
async fn a_broken_message_ends_the_session_with_its_reason() {
    let aggregator = Aggregator::start().await;
    let good = result(v1::Status::Ok, "fine");
    let mut unknown_target = batch(7, 1, "etcd-1", vec![good.clone()]);
    unknown_target.results[0].target = 3;
    let mut too_many_values = batch(7, 1, "etcd-1", vec![good.clone()]);
    too_many_values.results[0].values = vec![1.0, 2.0];
    let mut no_status = batch(7, 1, "etcd-1", vec![good]);
    no_status.results[0].status = 0;
    for (message, reason) in [
        (
            Ask::Batch(unknown_target),
            "batch.results[0].target is 3, expected a target that was defined on this stream",
        ),
        (
            Ask::Batch(too_many_values),
            "batch.results[0].values is 2, expected 1 entries at most, as defined",
        ),
        (
            Ask::Batch(no_status),
            "batch.results[0].status is 0, expected a status from 1 to 5",
        ),
        (
            Ask::Hello(hello("web-1", 7)),
            "message is \"a second hello\", expected one a stream",
        ),
    ] {
        let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
        agent.say(message).await;
        let refusal = agent.refused().await;
        assert_eq!(refusal.code(), v1::RefusalCode::Invalid);
        assert_eq!(refusal.reason, reason);
        let shown = aggregator
            .until("the reason", |picture| picture.agents[0].problem == reason)
            .await;
        assert!(!shown.agents[0].connected);
    }
    aggregator.stop().await;
}

#[tokio::test]
async fn a_hello_that_cannot_be_is_refused() {
    let aggregator = Aggregator::start().await;
    let mut future = hello("web-1", 7);
    (future.protocol_min, future.protocol_max) = (2, 3);
    let refusal = Agent::open(aggregator.address, future)
        .await
        .refused()
        .await;
    assert_eq!(refusal.code(), v1::RefusalCode::Protocol);
    assert_eq!(
        refusal.reason,
        "the agent speaks protocol 2 to 3, this aggregator speaks 1; upgrade the older of the two"
    );
    let refusal = Agent::open(aggregator.address, hello("", 7))
        .await
        .refused()
        .await;
    assert_eq!(refusal.code(), v1::RefusalCode::Invalid);
    assert!(
        refusal.reason.starts_with("hello.host is \"\""),
        "{}",
        refusal.reason
    );
    aggregator.stop().await;
}

#[tokio::test]
async fn neighbouring_versions_use_the_highest_they_share() {
    let aggregator = Aggregator::start_with(|config| config.protocol = 1..=2).await;
    for (theirs, expected) in [((1, 1), 1), ((1, 2), 2), ((2, 3), 2)] {
        let mut hello = hello("web-1", 7);
        (hello.protocol_min, hello.protocol_max) = theirs;
        let (_agent, welcome) = Agent::welcomed(aggregator.address, hello).await;
        assert_eq!(welcome.protocol, expected, "{theirs:?}");
    }
    aggregator.stop().await;
}

#[tokio::test]
async fn an_oversized_message_ends_its_stream_and_nothing_else() {
    let aggregator = Aggregator::start().await;
    let (mut other, _) = Agent::welcomed(aggregator.address, hello("web-2", 1)).await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let long = "x".repeat(5 << 20);
    let good = result(v1::Status::Ok, &long);
    agent.send(batch(7, 1, "etcd-1", vec![good])).await;
    let status = agent.broken().await;
    assert_eq!(status.code(), tonic::Code::OutOfRange);
    assert!(status.message().contains("4194304"), "{}", status.message());
    let good = result(v1::Status::Ok, "fine");
    other.send(batch(1, 1, "etcd-1", vec![good])).await;
    other.acknowledged(1, 1).await;
    aggregator.stop().await;
}

#[tokio::test]
async fn garbage_on_the_port_is_closed_and_harms_nobody() {
    let aggregator = Aggregator::start().await;
    let address = aggregator.address;
    let garbage: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![
            0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0,
        ],
        vec![0xff; 100_000],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
            .to_vec(),
    ];
    tokio::task::spawn_blocking(move || {
        for bytes in garbage {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            // It may close while we still write.
            let _ = stream.write_all(&bytes);
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                Ok(_) => {}
                Err(error) => assert_eq!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionReset,
                    "{bytes:02x?}"
                ),
            }
        }
    })
    .await
    .unwrap();
    let (mut agent, _) = Agent::welcomed(address, hello("web-1", 7)).await;
    let good = result(v1::Status::Ok, "fine");
    agent.send(batch(7, 1, "etcd-1", vec![good])).await;
    agent.acknowledged(7, 1).await;
    aggregator.stop().await;
}

#[test]
fn a_bad_configuration_starts_nothing_and_exits_78() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aggregator.toml");
    std::fs::write(
        &file,
        "listen = \"0.0.0.0:7400\"\nstate_dir = \"state\"\ntopology_fil = \"t\"\n",
    )
    .unwrap();
    for verb in [&["validate"][..], &["run", "--config"][..]] {
        let output = command().args(verb).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{verb:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("listening on 0.0.0.0:7400 without TLS is refused"),
            "{said}"
        );
        assert!(
            said.contains("line 3   topology_fil   unknown key; did you mean `topology_file`?"),
            "{said}"
        );
        assert!(
            said.contains("2 problems. Nothing was started. Check again with:"),
            "{said}"
        );
    }
    assert!(!folder.path().join("state").exists());
}

#[test]
fn a_second_aggregator_on_the_same_folder_is_refused_with_the_pid_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = crate::binary::Binary::start(folder.path(), &[]);
    let output = command()
        .args(["run", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is in use by the process "), "{said}");
    drop(first);
}
