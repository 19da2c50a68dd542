//! The uplinks of an agent: one per aggregator, begun and ended as the configuration says.

use std::collections::BTreeMap;

use blackstart_proto::transport::{ClientTls, Dial, HostPort};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Source;

/// The uplinks that run.
#[derive(Debug)]
pub(crate) struct Uplinks {
    source: Source,
    shutdown: CancellationToken,
    running: BTreeMap<HostPort, Running>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Uplinks {
    pub(crate) const fn new(source: Source, shutdown: CancellationToken) -> Self {
        Self {
            source,
            shutdown,
            running: BTreeMap::new(),
        }
    }

    /// Makes the aggregators these: ends the uplinks to others, begins those that are missing, leaves the rest alone. What was not
    /// acknowledged by one that left is kept for the others only.
    pub(crate) async fn set<D: Dial>(
        &mut self,
        addresses: &[HostPort],
        dialer: &D,
        tls: Option<&ClientTls>,
    ) {
        let leaving: Vec<HostPort> = self
            .running
            .keys()
            .filter(|address| !addresses.contains(address))
            .cloned()
            .collect();
        self.end(&leaving).await;
        for address in &leaving {
            info!(aggregator = %address, "aggregator left out");
            self.source.board.forget_link(&address.to_string());
        }
        let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        self.source.spool.keep_cursors(&names);
        for address in addresses {
            if self.running.contains_key(address) {
                continue;
            }
            let stop = self.shutdown.child_token();
            let task = tokio::spawn(super::run(
                address.clone(),
                tls.cloned(),
                dialer.clone(),
                self.source.clone(),
                stop.clone(),
            ));
            self.running.insert(address.clone(), Running { stop, task });
        }
    }

    /// Ends all of them, each with its goodbye.
    pub(crate) async fn end_all(&mut self) {
        let all: Vec<HostPort> = self.running.keys().cloned().collect();
        self.end(&all).await;
    }

    async fn end(&mut self, addresses: &[HostPort]) {
        let ending: Vec<Running> = addresses
            .iter()
            .filter_map(|address| self.running.remove(address))
            .collect();
        for running in &ending {
            running.stop.cancel();
        }
        for running in ending {
            // A panic was reported where it happened; the goodbye has its own limit.
            running.task.await.unwrap_or(());
        }
    }
}
