//! nginx as a fixture: HTTP and HTTPS on free ports.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::certificates::CertificateFiles;
use crate::{Daemon, Port, TempHome, free_port};

/// How long nginx may take to listen; it needs some ten milliseconds.
const READY_MAX: Duration = Duration::from_secs(20);

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    /// The process; freeze and kill it through this.
    pub daemon: Daemon,
    http: Port,
    https: Port,
    home: TempHome,
    certificate: Option<CertificateFiles>,
}

impl Nginx {
    /// Starts it with these `location` blocks; with a certificate also on HTTPS.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(locations: &str, certificate: Option<&CertificateFiles>) -> Self {
        let home = TempHome::new("nginx");
        let (http, https) = (free_port(), free_port());
        let conf = write_conf(&home, &http, &https, locations, certificate);
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(home.path()).arg("-c").arg(conf);
        let mut daemon = Daemon::spawn("nginx", &mut command, &home.join("log"));
        daemon.wait_ready(READY_MAX, || {
            let secured = certificate.is_some().then(|| https.address());
            let mut ports = [Some(http.address()), secured].into_iter().flatten();
            ports.all(|port| TcpStream::connect(port).is_ok())
        });
        Self {
            daemon,
            http,
            https,
            home,
            certificate: certificate.cloned(),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http.address())
    }

    /// `https://127.0.0.1:PORT`.
    pub fn https_url(&self) -> String {
        format!("https://{}", self.https.address())
    }

    /// The port of HTTP.
    pub const fn http_port(&self) -> u16 {
        self.http.number()
    }

    /// The port of HTTPS.
    pub const fn https_port(&self) -> u16 {
        self.https.number()
    }

    /// Replaces the `location` blocks and reads them (SIGHUP); nginx does that a moment later, so
    /// wait for what they change.
    pub fn reload(&self, locations: &str) {
        let certificate = self.certificate.as_ref();
        write_conf(&self.home, &self.http, &self.https, locations, certificate);
        self.daemon.signal(Signal::HUP);
    }
}

fn write_conf(
    home: &TempHome,
    http: &Port,
    https: &Port,
    locations: &str,
    certificate: Option<&CertificateFiles>,
) -> PathBuf {
    let tls = certificate.map_or_else(String::new, |files| {
        format!(
            "listen 127.0.0.1:{https} ssl;\nssl_certificate {};\nssl_certificate_key {};\n",
            files.certificate_file.display(),
            files.key_file.display()
        )
    });
    let folder = home.path().display();
    // A master with one worker: only so a reload loses no connection.
    let user = if rustix::process::geteuid().is_root() {
        "user root;\n"
    } else {
        ""
    };
    let conf = format!(
        "daemon off;\n{user}worker_processes 1;\npid {folder}/pid;\nerror_log stderr;\n\
         events {{ worker_connections 256; }}\n\
         http {{\naccess_log off;\n\
         client_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/fastcgi;\nuwsgi_temp_path {folder}/uwsgi;\n\
         scgi_temp_path {folder}/scgi;\n\
         server {{\nlisten 127.0.0.1:{http};\n{tls}{locations}\n}}\n}}\n"
    );
    home.write("nginx.conf", &conf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn get(port: u16) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream
            .write_all(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_serves_and_reloads() {
        let nginx = Nginx::start("location / { return 200 'one'; }", None);
        assert!(get(nginx.http_port()).ends_with("one"));
        nginx.reload("location / { return 503 'two'; }");
        crate::wait_until("the new answer", READY_MAX, || {
            get(nginx.http_port()).starts_with("HTTP/1.1 503")
        });
    }
}
