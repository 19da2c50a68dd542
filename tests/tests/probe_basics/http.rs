//! `http.get` against nginx and against what only pretends to be a web server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use blackstart_agent::observation::Status;
use blackstart_agent::probe::Probe;
use blackstart_tests::servers::nginx::Nginx;
use blackstart_tests::{Certificates, eventually};

use super::{configure, failed, finding, ok, once, probe, seen, value};

fn toml(url: &str, more: &str) -> String {
    format!("kind = \"http.get\"\nurl = \"{url}\"\n{more}")
}

/// Answers one connection with these bytes and closes it.
fn answer_once(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The whole request fits into one read; unread bytes would turn the close into a reset.
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(bytes).unwrap();
    });
    address
}

#[tokio::test]
async fn status_body_redirect_and_password_are_checked() {
    let nginx = Nginx::start(
        "location = /ok { return 200 'all is ready'; }\n\
         location = /down { return 503 'no backend'; }\n\
         location = /moved { return 302 /ok; }\n\
         location = /loop { return 302 /loop; }\n\
         location = /secret { if ($http_authorization != 'Basic dTpodW50ZXIy') { return 401 'who?'; } return 200 'in'; }",
        None,
    );
    let url = nginx.http_url();
    let page = |path: &str, more: &str| toml(&format!("{url}{path}"), more);
    assert_eq!(seen(&page("/ok", "")).await, ok("status 200"));
    assert_eq!(
        seen(&page("/ok", "expect_body = \"ready\"")).await,
        ok("status 200")
    );
    assert_eq!(
        seen(&page("/ok", "expect_body = \"steady\"")).await,
        failed("status 200, but the body does not hold \"steady\"")
    );
    assert_eq!(
        seen(&page("/down", "")).await,
        failed("status 503, expected 200-399: no backend")
    );
    assert_eq!(seen(&page("/moved", "")).await, ok("status 302"));
    assert_eq!(
        seen(&page(
            "/moved",
            "expect_status = [\"200\"]\nfollow_redirects = 1"
        ))
        .await,
        ok("status 200")
    );
    assert!(
        seen(&page(
            "/loop",
            "expect_status = [\"200\"]\nfollow_redirects = 3"
        ))
        .await
        .1
        .starts_with("status 302 to http://"),
    );
    assert_eq!(
        seen(&page("/secret", "")).await,
        failed("status 401, expected 200-399: who?")
    );
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "hunter2\n").unwrap();
    let login = format!("user = \"u\"\npassword_file = {:?}", password.path());
    assert_eq!(seen(&page("/secret", &login)).await, ok("status 200"));
    let lost = "user = \"u\"\npassword_file = \"/nowhere\"";
    assert_eq!(once(&page("/secret", lost)).await.status, Status::Unknown);

    let timed = once(&page("/ok", "")).await;
    for name in ["connect_ms", "first_byte_ms", "total_ms", "status"] {
        assert!(value(&timed, name) > 0.0, "{timed:?}");
    }
}

/// Waits until the probe fails with this detail: a process that is frozen or killed may still answer for a moment.
async fn until(probe: &dyn Probe, timeout: Duration, detail: &str) {
    eventually(detail, super::TIMEOUT, async || {
        let seen = finding(probe, timeout).await;
        if seen.status == Status::Failed && seen.detail == detail {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;
}

#[tokio::test]
async fn a_frozen_server_is_silent_and_a_dead_one_refuses() {
    let mut nginx = Nginx::start("location / { return 200 'ok'; }", None);
    let url = nginx.http_url();
    let peer = url.strip_prefix("http://").unwrap().to_owned();
    let probe = probe(&toml(&format!("{url}/health?key=1"), ""));
    nginx.daemon.freeze();
    let silent = format!(
        "{peer}: TCP connects, but HTTP is silent: GET /health: waiting for the answer: no answer within 500 ms"
    );
    until(&*probe, Duration::from_millis(500), &silent).await;
    nginx.daemon.thaw();
    assert_eq!(finding(&*probe, super::TIMEOUT).await.status, Status::Ok);
    nginx.daemon.kill();
    let refused = format!("{peer}: connection refused, nothing listens there");
    until(&*probe, super::TIMEOUT, &refused).await;
}

#[tokio::test]
async fn broken_answers_are_told_apart() {
    for (bytes, detail) in [
        (
            &b""[..],
            "GET /: the server closed the connection without an answer",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
            "GET /: status 200, then the answer broke off",
        ),
        (
            b"SSH-2.0-OpenSSH\r\n\r\n",
            "GET /: what answers does not speak HTTP",
        ),
    ] {
        let peer = answer_once(bytes);
        let (status, seen) = seen(&toml(&format!("http://{peer}/"), "")).await;
        assert_eq!(status, Status::Failed);
        assert!(seen.starts_with(&format!("{peer}: {detail}")), "{seen}");
    }
}

#[tokio::test]
async fn a_huge_body_is_cut_and_still_judged() {
    let nginx = Nginx::start(
        "location / { add_header X-Test 1; root /; try_files /usr/sbin/nginx =404; }",
        None,
    );
    let finding = once(&toml(
        &nginx.http_url(),
        "expect_body = \"not in a program\"",
    ))
    .await;
    assert_eq!(
        finding.detail,
        "status 200, but the body does not hold \"not in a program\" in the part that was read"
    );
}

#[tokio::test]
async fn certificates_are_judged_and_their_end_is_measured() {
    let authority = Certificates::new();
    let stranger = Certificates::new();
    let good = authority.issue_until("good", &["127.0.0.1", "localhost"], Some((2400, 1, 1)));
    let expired = authority.issue_until("expired", &["127.0.0.1"], Some((2002, 1, 1)));
    let wrong = authority.issue_until("wrong", &["shop.test"], Some((2400, 1, 1)));
    let trust = |ca: &std::path::Path| format!("tls_ca_file = {ca:?}\n");

    let nginx = Nginx::start("location / { return 200 'ok'; }", Some(&good));
    let url = nginx.https_url();
    let peer = url.strip_prefix("https://").unwrap();
    let finding = once(&toml(&url, &trust(&good.ca_file))).await;
    assert_eq!(
        (finding.status, finding.detail.as_str()),
        (Status::Ok, "status 200")
    );
    assert!(value(&finding, "certificate_expires_in_s") > 86_400.0 * 365.0 * 100.0);
    assert!(value(&finding, "tls_ms") > 0.0);
    let foreign = stranger.issue("x", &["x"]);
    assert_eq!(
        seen(&toml(&url, &trust(&foreign.ca_file))).await,
        failed(&format!(
            "{peer}: the certificate is signed by nobody whom this probe trusts"
        ))
    );
    assert_eq!(
        seen(&toml(&url, "tls_verify = false")).await,
        ok("status 200")
    );
    assert_eq!(
        once(&toml(&url, "tls_ca_file = \"/nowhere.pem\""))
            .await
            .status,
        Status::Unknown
    );
    let plain = format!("https://127.0.0.1:{}", nginx.http_port());
    assert_eq!(
        seen(&toml(&plain, &trust(&good.ca_file))).await,
        failed(&format!(
            "127.0.0.1:{}: TCP connects, but what answers does not speak TLS",
            nginx.http_port()
        ))
    );

    let nginx = Nginx::start("location / { return 200 'ok'; }", Some(&expired));
    let peer = nginx.https_url();
    let finding = once(&toml(&nginx.https_url(), &trust(&good.ca_file))).await;
    assert_eq!(
        finding.detail,
        format!(
            "{}: the certificate expired on 2002-01-01 00:00 UTC",
            peer.strip_prefix("https://").unwrap()
        )
    );
    assert!(
        value(&finding, "certificate_expires_in_s") < 0.0,
        "{finding:?}"
    );

    let nginx = Nginx::start("location / { return 200 'ok'; }", Some(&wrong));
    let url = nginx.https_url();
    let peer = url.strip_prefix("https://").unwrap();
    assert_eq!(
        seen(&toml(&url, &trust(&good.ca_file))).await,
        failed(&format!(
            "{peer}: the certificate is not for 127.0.0.1, it is for shop.test"
        ))
    );
    let named = format!("{}tls_server_name = \"shop.test\"", trust(&good.ca_file));
    assert_eq!(seen(&toml(&url, &named)).await, ok("status 200"));
}

#[test]
fn bad_keys_are_refused_and_show_no_secret() {
    let report = configure(
        "kind = \"http.get\"\nurl = \"http://u:hunter2@a/\"\npassword = \"hunter2\"\nexpect_status = [\"2xx\"]\nheaders = { Authorization = \"hunter2\" }\n",
    )
    .unwrap_err();
    assert!(report.ends_with("4 problems"), "{report}");
    assert_eq!(report.matches("hunter2").count(), 0, "{report}");
}
