//! The gRPC health protocol over what this agent found last: any stock client can wait for `etcd-1`.
//!
//! A component is served when the newest result of each of its checks is `ok` or `degraded` and still holds. It is not when one is
//! not, or none came yet: what nobody observed is not healthy.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use blackstart_proto::limits::COMPONENT_ID_BYTES_MAX;
use futures::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::board::Board;
use crate::clock::HostClock;
use crate::observation;
use crate::result::Numbered;
use crate::spool::Spool;

/// How soon a watcher sees that a result no longer holds, which nobody tells.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Answers from the last results.
#[derive(Debug, Clone)]
pub(super) struct HealthOfComponents {
    spool: Arc<Spool>,
    board: Arc<Board>,
    shutdown: CancellationToken,
}

impl HealthOfComponents {
    pub(super) const fn new(
        spool: Arc<Spool>,
        board: Arc<Board>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            spool,
            board,
            shutdown,
        }
    }

    /// `None`: no probe answers for it.
    fn serving(&self, service: &str) -> Option<ServingStatus> {
        if service.is_empty() {
            return Some(word(self.board.is_turning()));
        }
        let results = self.spool.latest_of(service);
        if results.is_empty() && !self.board.has_component(service) {
            return None;
        }
        let now = HostClock::kernel().read();
        Some(word(is_served(&results, now.boottime_us())))
    }
}

const fn word(is_serving: bool) -> ServingStatus {
    if is_serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

/// Whether the newest results of all checks of a component say that it works, now.
fn is_served(results: &[Numbered], now_us: u64) -> bool {
    !results.is_empty()
        && results.iter().all(|result| {
            let holds_until = result
                .sampled_boottime_us
                .saturating_add(u64::from(result.ttl_ms) * 1_000);
            let status = result.observation.finding.status;
            now_us <= holds_until
                && matches!(
                    status,
                    observation::Status::Ok | observation::Status::Degraded
                )
        })
}

const fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status as i32,
    }
}

fn check_service(service: &str) -> Result<(), Status> {
    if service.len() > COMPONENT_ID_BYTES_MAX {
        return Err(Status::invalid_argument(format!(
            "a component's id has {COMPONENT_ID_BYTES_MAX} bytes at most, this one has {}",
            service.len()
        )));
    }
    Ok(())
}

#[tonic::async_trait]
impl Health for HealthOfComponents {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        check_service(&service)?;
        let status = self.serving(&service).ok_or_else(|| {
            Status::not_found(format!("no probe of this agent answers for {service:?}"))
        })?;
        Ok(Response::new(response(status)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        check_service(&service)?;
        let filled = self.spool.watch();
        let state = (self.clone(), service, filled, None);
        let stream =
            futures::stream::unfold(state, |(health, service, mut filled, last)| async move {
                loop {
                    let now = health
                        .serving(&service)
                        .unwrap_or(ServingStatus::ServiceUnknown);
                    if last != Some(now) {
                        return Some((Ok(response(now)), (health, service, filled, Some(now))));
                    }
                    tokio::select! {
                        () = health.shutdown.cancelled() => return None,
                        // An error is the spool's end, which comes with the shutdown.
                        _ = filled.changed() => {}
                        () = tokio::time::sleep(WATCH_INTERVAL) => {}
                    }
                }
            });
        Ok(Response::new(Box::pin(stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Finding, Observation};
    use crate::result::Incarnation;

    fn result(status: observation::Status, sampled_us: u64) -> Numbered {
        let incarnation = Incarnation {
            id: 1,
            boot_id: String::new(),
            wall_offset_us: 0,
        };
        Numbered {
            position: 0,
            incarnation: Arc::new(incarnation),
            sequence: 1,
            sampled_boottime_us: sampled_us,
            ttl_ms: 1_000,
            observation: Observation {
                component: "c".to_owned(),
                check: "k".into(),
                finding: Finding::new(status, ""),
            },
        }
    }

    #[test]
    fn what_works_is_served_while_somebody_looks() {
        use observation::Status::{Degraded, Failed, Ok, Starting, Unknown};
        let now = 5_000_000;
        for (results, served) in [
            (vec![], false),
            (vec![(Ok, now)], true),
            (vec![(Ok, now), (Degraded, now)], true),
            (vec![(Ok, now), (Failed, now)], false),
            (vec![(Starting, now)], false),
            (vec![(Unknown, now)], false),
            (vec![(Ok, now - 1_000_000)], true),
            (vec![(Ok, now - 1_000_001)], false),
        ] {
            let numbered: Vec<Numbered> = results
                .iter()
                .map(|(status, sampled)| result(*status, *sampled))
                .collect();
            assert_eq!(is_served(&numbered, now), served, "{results:?}");
        }
    }
}
