//! Real TLS over real sockets on loopback, with certificates made for each test.

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;

/// Far longer than anything here takes; a test that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// When a test certificate is valid.
#[derive(Clone, Copy)]
enum Valid {
    Now,
    UntilYesterday,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test CA");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes `NAME.pem`, `NAME.key` and `ca.pem` into the folder.
    fn issue(&self, folder: &Path, name: &str, sans: &[&str], valid: Valid) -> TlsFiles {
        let sans: Vec<String> = sans.iter().map(|&san| san.to_owned()).collect();
        let mut params = CertificateParams::new(sans).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if matches!(valid, Valid::UntilYesterday) {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let files = TlsFiles {
            ca_file: folder.join("ca.pem"),
            certificate_file: folder.join(format!("{name}.pem")),
            key_file: folder.join(format!("{name}.key")),
        };
        write(&files.ca_file, &self.0.pem());
        write(&files.certificate_file, &certificate.pem());
        write(&files.key_file, &key.serialize_pem());
        files
    }
}

/// Replaces a file as a careful program does: whole, and private.
fn write(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}

struct Served {
    address: HostPort,
    peers: mpsc::UnboundedReceiver<Peer>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A gRPC health server that tells who asked.
async fn serve(tls: Option<ServerTls>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().into();
    let (tell, peers) = mpsc::unbounded_channel();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let told = tonic::service::interceptor::InterceptedService::new(
        health,
        move |request: tonic::Request<()>| {
            let _ = tell.send(Peer::of(&request).unwrap().clone());
            Ok(request)
        },
    );
    let task = tokio::spawn(async move {
        tonic::transport::Server::builder()
            .add_service(told)
            .serve_with_incoming(incoming(listener, tls))
            .await
            .unwrap();
    });
    Served {
        address,
        peers,
        task,
    }
}

async fn ask(channel: tonic::transport::Channel) {
    HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .unwrap();
}

fn client(files: &TlsFiles) -> ClientTls {
    ClientTls::load(files).unwrap()
}

#[tokio::test]
async fn both_ends_know_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new();
    let server = ca.issue(folder.path(), "aggregator", &["127.0.0.1"], Valid::Now);
    let agent = ca.issue(
        folder.path(),
        "agent",
        &["web-1", "web-1.example"],
        Valid::Now,
    );
    let nameless = ca.issue(folder.path(), "web-2", &[], Valid::Now);
    let mut served = serve(Some(ServerTls::load(&server).unwrap())).await;
    for (files, expected) in [
        (agent, vec!["web-1", "web-1.example"]),
        (nameless, vec!["web-2"]),
    ] {
        let channel = connect(&served.address, Some(&client(&files)), Timeouts::default())
            .await
            .unwrap();
        ask(channel).await;
        let peer = served.peers.recv().await.unwrap();
        assert_eq!(peer.names().unwrap(), expected);
        assert!(peer.address().ip().is_loopback());
        assert!(peer.may_report_for(expected[0]) && !peer.may_report_for("db-1"));
    }
}

#[tokio::test]
async fn without_tls_a_peer_has_no_names() {
    let mut served = serve(None).await;
    ask(connect(&served.address, None, Timeouts::default())
        .await
        .unwrap())
    .await;
    assert_eq!(served.peers.recv().await.unwrap().names(), None);
}

/// What is in the way is told at `connect`, with the reason, not at the first call.
#[tokio::test]
async fn certificates_that_are_refused_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let other_folder = tempfile::tempdir().unwrap();
    let (ca, other) = (Authority::new(), Authority::new());
    let server = ca.issue(folder.path(), "aggregator", &["127.0.0.1"], Valid::Now);
    let misnamed = ca.issue(folder.path(), "misnamed", &["aggregator-9"], Valid::Now);
    let old = ca.issue(folder.path(), "old", &["127.0.0.1"], Valid::UntilYesterday);
    let agent = client(&ca.issue(folder.path(), "agent", &["web-1"], Valid::Now));
    let stranger = other.issue(other_folder.path(), "agent", &["web-1"], Valid::Now);
    let half_stranger = client(&TlsFiles {
        ca_file: server.ca_file.clone(),
        ..stranger.clone()
    });
    let served = serve(Some(ServerTls::load(&server).unwrap())).await;
    let misnamed = serve(Some(ServerTls::load(&misnamed).unwrap())).await;
    let old_served = serve(Some(ServerTls::load(&old).unwrap())).await;
    let plain = serve(None).await;
    for (server, tls, expected) in [
        (
            &served,
            Some(&client(&stranger)),
            "ADDRESS shows a certificate that is refused: it is not of this side's CA",
        ),
        (
            &served,
            Some(&half_stranger),
            "ADDRESS refuses the certificate of this side: it is not of the server's CA",
        ),
        (
            &served,
            Some(&client(&old)),
            "ADDRESS refuses the certificate of this side: it has expired, by the server's clock",
        ),
        (&served, None, "ADDRESS wants TLS"),
        (
            &misnamed,
            Some(&agent),
            "ADDRESS shows a certificate that is refused: it is for aggregator-9",
        ),
        (
            &old_served,
            Some(&agent),
            "ADDRESS shows a certificate that is refused: it has expired, by this host's clock",
        ),
        (&plain, Some(&agent), "ADDRESS does not speak TLS"),
    ] {
        let error = connect(&server.address, tls, Timeouts::default())
            .await
            .unwrap_err();
        let text = error
            .one_line()
            .replace(&server.address.to_string(), "ADDRESS");
        assert_eq!(text, expected);
    }
}

#[tokio::test]
async fn what_is_no_aggregator_is_told_apart() {
    let timeouts = Timeouts {
        connect: Duration::from_millis(300),
        ..Timeouts::default()
    };
    let refused = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let error = connect(&refused.into(), None, timeouts).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = connect(&silent.local_addr().unwrap().into(), None, timeouts)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: no answer within 0.3 s while waiting for its first answer",
            silent.local_addr().unwrap()
        )
    );

    let http1 = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = http1.local_addr().unwrap();
    let answers = tokio::spawn(async move {
        let (mut stream, _) = http1.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    let error = connect(&address.into(), None, Timeouts::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("what answers at {address} is no aggregator: an HTTP/1 server")
    );
    answers.await.unwrap();

    let elsewhere: HostPort = "192.0.2.1:7400".parse().unwrap();
    let error = connect(&elsewhere, None, timeouts).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "192.0.2.1:7400 is not on loopback, and without TLS nothing else is dialled"
    );
}

#[tokio::test]
async fn a_silent_client_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new();
    let server = ca.issue(folder.path(), "aggregator", &["127.0.0.1"], Valid::Now);
    let agent = client(&ca.issue(folder.path(), "agent", &["web-1"], Valid::Now));
    let served = serve(Some(ServerTls::load(&server).unwrap())).await;
    let address = served.address.to_string();
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    let mut garbage = TcpStream::connect(&address).await.unwrap();
    garbage.write_all(&[0xff; 4096]).await.unwrap();
    ask(connect(&served.address, Some(&agent), Timeouts::default())
        .await
        .unwrap())
    .await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, garbage.read_to_end(&mut rest))
        .await
        .unwrap();
}

/// A server under way takes a new CA and a new certificate; a bad file changes nothing but what is told.
#[tokio::test]
async fn files_are_swapped_under_a_live_server() {
    let folder = tempfile::tempdir().unwrap();
    let old = Authority::new();
    let server = old.issue(folder.path(), "aggregator", &["127.0.0.1"], Valid::Now);
    let tls = ServerTls::load(&server).unwrap();
    let served = serve(Some(tls.clone())).await;
    let agent_folder = tempfile::tempdir().unwrap();
    let old_client = client(&old.issue(agent_folder.path(), "agent", &["web-1"], Valid::Now));
    let channel = connect(&served.address, Some(&old_client), Timeouts::default())
        .await
        .unwrap();
    assert_eq!(tls.problems(), Vec::<String>::new());

    write(&server.certificate_file, "not a certificate");
    tls.reload();
    assert_eq!(
        tls.problems(),
        [format!(
            "new TLS files refused, the old ones stay in force: certificate_file {} holds nothing in PEM \
             form; expected a certificate in PEM form",
            server.certificate_file.display()
        )]
    );
    connect(&served.address, Some(&old_client), Timeouts::default())
        .await
        .unwrap();

    let new = Authority::new();
    new.issue(folder.path(), "aggregator", &["127.0.0.1"], Valid::Now);
    tls.reload();
    assert_eq!(tls.problems(), Vec::<String>::new());
    let new_client = client(&new.issue(folder.path(), "agent", &["web-1"], Valid::Now));
    ask(
        connect(&served.address, Some(&new_client), Timeouts::default())
            .await
            .unwrap(),
    )
    .await;
    let error = connect(&served.address, Some(&old_client), Timeouts::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::ServerCertificate { .. }),
        "{error:?}"
    );
    // What was open stays open.
    ask(channel).await;
}

#[tokio::test]
async fn a_channel_comes_back_by_itself() {
    let served = serve(None).await;
    let channel = connect(&served.address, None, Timeouts::default())
        .await
        .unwrap();
    ask(channel.clone()).await;
    let address = served.address.to_string();
    served.task.abort();
    let listener = tokio::time::timeout(PATIENCE, async {
        loop {
            match TcpListener::bind(&address).await {
                Ok(listener) => return listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await
    .unwrap();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let again = tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(health);
        server
            .serve_with_incoming(incoming(listener, None))
            .await
            .unwrap();
    });
    let mut client = HealthClient::new(channel);
    tokio::time::timeout(PATIENCE, async {
        while client.check(HealthCheckRequest::default()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    again.abort();
}

#[test]
fn bad_files_are_named_with_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new();
    let good = ca.issue(folder.path(), "a", &["web-1"], Valid::Now);
    let other = ca.issue(folder.path(), "b", &["web-2"], Valid::Now);
    let at = |name: &str, content: &str| {
        let path = folder.path().join(name);
        write(&path, content);
        path
    };
    let missing = TlsFiles {
        ca_file: folder.path().join("none.pem"),
        ..good.clone()
    };
    let empty = TlsFiles {
        ca_file: at("empty.pem", ""),
        ..good.clone()
    };
    let swapped = TlsFiles {
        certificate_file: good.key_file.clone(),
        ..good.clone()
    };
    let no_key = TlsFiles {
        key_file: good.certificate_file.clone(),
        ..good.clone()
    };
    let locked = TlsFiles {
        key_file: at(
            "locked.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        ),
        ..good.clone()
    };
    let cut = TlsFiles {
        ca_file: at("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"),
        ..good.clone()
    };
    let mixed = TlsFiles {
        key_file: other.key_file,
        ..good.clone()
    };
    let long = TlsFiles {
        ca_file: at("long.pem", &"x".repeat(1_100_000)),
        ..good.clone()
    };
    for (files, expected) in [
        (
            missing,
            "ca_file DIR/none.pem cannot be read: No such file or directory (os error 2)",
        ),
        (
            empty,
            "ca_file DIR/empty.pem holds nothing in PEM form; expected a certificate in PEM form",
        ),
        (
            swapped,
            "certificate_file DIR/a.key holds a private key; expected a certificate in PEM form",
        ),
        (
            no_key,
            "key_file DIR/a.pem holds a certificate; expected an unencrypted private key in PEM form",
        ),
        (
            locked,
            "key_file DIR/locked.key holds an encrypted key; expected an unencrypted private key in PEM form",
        ),
        (
            cut,
            "ca_file DIR/cut.pem is broken: a section has no END line; was it cut short?",
        ),
        (
            mixed,
            "key_file DIR/b.key does not belong to certificate_file DIR/a.pem; name the key that this certificate was made for",
        ),
        (
            long,
            "ca_file DIR/long.pem is longer than 1 MiB; is it the right file?",
        ),
    ] {
        let error = ServerTls::load(&files).unwrap_err();
        let text = reload::chain(&error).replace(&folder.path().display().to_string(), "DIR");
        assert_eq!(text, expected);
    }
}

/// A wrong clock must not keep an aggregator from starting, so an expired certificate only warns.
#[test]
fn what_may_be_right_after_all_only_warns() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let files = Authority::new().issue(folder.path(), "old", &["web-1"], Valid::UntilYesterday);
    std::fs::set_permissions(&files.key_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let problems = ServerTls::load(&files).unwrap().problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0].contains("old.pem expired") && problems[0].contains("by this host's clock")
    );
    assert!(problems[1].contains("old.key can be read by every user of this host; run: chmod o= "));
}
