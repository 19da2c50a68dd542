//! The rows of the table of goals, and what they share: an aggregator, an operator that asks it, patience.

pub(crate) mod binary;
pub(crate) mod footprint;
pub(crate) mod herd;
pub(crate) mod ingest;
pub(crate) mod latency;
pub(crate) mod probes;
pub(crate) mod tree;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use blackstart_proto::transport::{ClientTls, HostPort, Timeouts, TlsFiles, connect};
use blackstart_proto::v1::operator_service_client::OperatorServiceClient;
use blackstart_proto::v1::{Condition, ReadyRequest, StatusRequest, StatusResponse};
use blackstart_tests::certificates::CertificateFiles;
use blackstart_tests::{Certificates, Daemon, Port, TempHome, binary, free_port};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tonic::transport::Channel;

/// How long anything that is measured may take before the measurement is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The picture of a large fleet.
const PICTURE_BYTES_MAX: usize = 256 << 20;

/// What an operator asks with.
pub(crate) type OperatorClient = OperatorServiceClient<Channel>;

/// Each connection of a fleet is an open file.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may be raised to the hard one");
}

/// An aggregator of its own under mutual TLS.
pub(crate) struct Aggregator {
    pub(crate) daemon: Daemon,
    pub(crate) certificates: Certificates,
    port: Port,
    home: TempHome,
}

impl Aggregator {
    /// Starts one with this topology, or none.
    pub(crate) fn start(topology: Option<&str>) -> Self {
        let home = TempHome::new("bench");
        let certificates = Certificates::new();
        let files = certificates.aggregator();
        let port = free_port();
        let mut config = format!("listen = \"{}\"\nstate_dir = \"state\"\n", port.address());
        if let Some(topology) = topology {
            home.write("topology.toml", topology);
            config.push_str("topology_file = \"topology.toml\"\n");
        }
        config.push_str(&files.toml());
        home.write("aggregator.toml", &config);
        let daemon = spawn(home.path());
        Self {
            daemon,
            certificates,
            port,
            home,
        }
    }

    /// Starts it again after its end, with what it kept.
    pub(crate) fn start_again(&mut self) {
        self.daemon = spawn(self.home.path());
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> HostPort {
        self.port.address().to_string().parse().expect("an address")
    }

    /// An operator's connection, as soon as it answers.
    pub(crate) async fn operator(&mut self) -> OperatorClient {
        let tls = client_tls(&self.certificates.issue("operator", &["operator"]));
        let address = self.address();
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(self.daemon.is_running(), "{}", self.daemon.log());
            match connect(&address, Some(&tls), Timeouts::default()).await {
                Ok(channel) => {
                    return OperatorServiceClient::new(channel)
                        .max_decoding_message_size(PICTURE_BYTES_MAX);
                }
                Err(error) => assert!(Instant::now() < end, "{}", error.one_line()),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn spawn(home: &Path) -> Daemon {
    let mut command = Command::new(binary("blackstart-aggregator"));
    command
        .args(["run", "--config"])
        .arg(home.join("aggregator.toml"))
        .env("BLACKSTART_LOG", "warn");
    Daemon::spawn("aggregator", &mut command, &home.join("aggregator.log"))
}

/// The client's half of these files.
pub(crate) fn client_tls(files: &CertificateFiles) -> ClientTls {
    ClientTls::load(&TlsFiles {
        ca_file: files.ca_file.clone(),
        certificate_file: files.certificate_file.clone(),
        key_file: files.key_file.clone(),
    })
    .expect("certificates just made are good")
}

/// The whole picture.
pub(crate) async fn status(operator: &mut OperatorClient) -> StatusResponse {
    operator
        .status(StatusRequest::default())
        .await
        .expect("the aggregator answers")
        .into_inner()
}

/// Asks until the component has a condition that is wanted.
pub(crate) async fn until(
    operator: &mut OperatorClient,
    component: &str,
    mut is_wanted: impl FnMut(Condition) -> bool,
) {
    let began = Instant::now();
    loop {
        let request = ReadyRequest {
            components: vec![component.to_owned()],
        };
        let answer = operator
            .ready(request)
            .await
            .expect("the aggregator answers")
            .into_inner();
        if answer
            .components
            .first()
            .is_some_and(|found| is_wanted(found.condition()))
        {
            return;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{component} stays {:?}",
            answer.components
        );
    }
}

/// The figure below which `share` of the sorted figures lie, milliseconds.
pub(crate) fn percentile_ms(sorted: &[Duration], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a short list"
    )]
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted
        .get(at)
        .map_or(f64::NAN, |figure| figure.as_secs_f64() * 1_000.0)
}

/// The middle one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A count as a factor.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(crate) const fn float(count: usize) -> f64 {
    count as f64
}
