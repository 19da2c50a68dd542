//! Answers operators, boot scripts and health clients. Only reads.
//!
//! Everything but `why` and the topology comes from the view; a reader costs the engine nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use blackstart_proto::limits::COMPONENT_ID_BYTES_MAX;
use blackstart_proto::v1::operator_service_server::OperatorService;
use blackstart_proto::v1::{
    ReadyRequest, ReadyResponse, RecordRequest, RecordResponse, StatusRequest, StatusResponse,
    TopologyRequest, TopologyResponse, WatchStatusRequest, WatchStatusResponse, WhyRequest,
    WhyResponse,
};
use futures::Stream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::capture::live::{RECORDINGS_MAX, Recording};
use crate::clock::Clock;
use crate::engine::EngineHandle;
use crate::health::v1::health_check_response::ServingStatus;
use crate::health::v1::health_server::Health;
use crate::health::v1::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use crate::journal::writer::JournalProgress;
use crate::problems::Problems;
use crate::roster::Roster;
use crate::series::SeriesTable;
use crate::wire::operator::{OwnState, readiness, recorded, serving, status, why};

/// Between two pictures of a watcher: ten a second are enough for eyes.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// A watcher gets a new picture at least so often: measured values tell nobody that they changed.
const WATCH_REFRESH: Duration = Duration::from_secs(1);

/// The most components of one readiness question.
const READY_COMPONENTS_MAX: usize = 1_000;

/// The most entries of a health list, as the protocol says.
const HEALTH_LIST_MAX: usize = 100;

/// Answers from the view.
#[derive(Clone)]
pub(crate) struct Operator(Arc<OperatorParts>);

/// What [`Operator`] is made of.
pub(crate) struct OperatorParts {
    pub(crate) id: String,
    pub(crate) started_us: i64,
    pub(crate) topology_file: String,
    pub(crate) clock: Arc<Clock>,
    pub(crate) engine: EngineHandle,
    pub(crate) series: Arc<SeriesTable>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) problems: Arc<Problems>,
    pub(crate) tls_problems: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    pub(crate) progress: watch::Receiver<JournalProgress>,
    pub(crate) shutdown: CancellationToken,
}

impl Operator {
    pub(crate) fn new(parts: OperatorParts) -> Self {
        Self(Arc::new(parts))
    }

    async fn picture(&self, problems_only: bool) -> Result<StatusResponse, Status> {
        let parts = &*self.0;
        let view = parts.engine.fresh().await.ok_or_else(shutting_down)?;
        let mut problems = parts.problems.all();
        problems.extend(parts.clock.problem());
        problems.extend((parts.tls_problems)());
        problems.sort();
        let own = OwnState {
            id: parts.id.clone(),
            started_us: parts.started_us,
            problems,
            journal_entries: parts.progress.borrow().entries,
            topology_file: parts.topology_file.clone(),
        };
        let at_us = parts.clock.now().wall_us;
        Ok(status(&view, at_us, &parts.roster, own, problems_only))
    }
}

fn shutting_down() -> Status {
    Status::unavailable("the aggregator is shutting down")
}

fn no_such_component(id: &str) -> Status {
    Status::not_found(format!("the topology has no component {id:?}"))
}

fn check_id(id: &str) -> Result<(), Status> {
    if id.is_empty() || id.len() > COMPONENT_ID_BYTES_MAX {
        return Err(Status::invalid_argument(format!(
            "a component's id has 1 to {COMPONENT_ID_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl OperatorService for Operator {
    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let picture = self.picture(request.into_inner().problems_only).await?;
        Ok(Response::new(picture))
    }

    type WatchStatusStream = Streamed<WatchStatusResponse>;

    async fn watch_status(
        &self,
        request: Request<WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let watcher = Watcher {
            operator: self.clone(),
            problems_only: request.into_inner().problems_only,
            view: self.0.engine.watch(),
            roster: self.0.roster.watch(),
            problems: self.0.problems.watch(),
            shown: None,
        };
        let pictures = futures::stream::unfold(watcher, |mut watcher| async move {
            let picture = watcher.next().await?;
            Some((picture, watcher))
        });
        Ok(Response::new(Box::pin(pictures)))
    }

    async fn why(&self, request: Request<WhyRequest>) -> Result<Response<WhyResponse>, Status> {
        let component = request.into_inner().component;
        check_id(&component)?;
        let answer = self.0.engine.why(component.clone()).await;
        let answer = answer.ok_or_else(shutting_down)?;
        let answer = answer.ok_or_else(|| no_such_component(&component))?;
        let view = self.0.engine.view();
        Ok(Response::new(why(answer, view.diagnosis.as_deref())))
    }

    async fn ready(
        &self,
        request: Request<ReadyRequest>,
    ) -> Result<Response<ReadyResponse>, Status> {
        let asked = request.into_inner().components;
        if asked.is_empty() || asked.len() > READY_COMPONENTS_MAX {
            return Err(Status::invalid_argument(format!(
                "ask for 1 to {READY_COMPONENTS_MAX} components"
            )));
        }
        let view = self.0.engine.view();
        let components: Vec<_> = asked
            .into_iter()
            .map(|component| readiness(&view, component))
            .collect();
        Ok(Response::new(ReadyResponse {
            ready: components.iter().all(|component| component.ready),
            components,
        }))
    }

    async fn topology(
        &self,
        _request: Request<TopologyRequest>,
    ) -> Result<Response<TopologyResponse>, Status> {
        let answer = self.0.engine.topology().await.ok_or_else(shutting_down)?;
        Ok(Response::new(answer.into()))
    }

    type RecordStream = Streamed<RecordResponse>;

    async fn record(
        &self,
        _request: Request<RecordRequest>,
    ) -> Result<Response<Self::RecordStream>, Status> {
        let parts = &*self.0;
        let begun = parts.engine.record().await.ok_or_else(shutting_down)?;
        let begun = begun.ok_or_else(|| {
            Status::resource_exhausted(format!(
                "{RECORDINGS_MAX} recordings run already; end one, or record from the journal with --state-dir"
            ))
        })?;
        let (series, clock) = (parts.series.clone(), parts.clock.clone());
        let recording = Recording::new(begun, series, clock, parts.shutdown.clone());
        let pieces = futures::stream::unfold(recording, |mut recording| async move {
            let piece = recording.next().await?;
            Some((recorded(piece), recording))
        });
        Ok(Response::new(Box::pin(pieces)))
    }
}

/// Somebody who wants every picture.
struct Watcher {
    operator: Operator,
    problems_only: bool,
    view: watch::Receiver<Arc<crate::view::View>>,
    roster: watch::Receiver<()>,
    problems: watch::Receiver<()>,
    shown: Option<Instant>,
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<WatchStatusResponse, Status>> {
        if let Some(shown) = self.shown {
            tokio::select! {
                () = self.operator.0.shutdown.cancelled() => return None,
                _ = self.view.changed() => {}
                _ = self.roster.changed() => {}
                _ = self.problems.changed() => {}
                () = tokio::time::sleep(WATCH_REFRESH) => {}
            }
            tokio::time::sleep_until(shown + WATCH_INTERVAL).await;
        }
        self.view.mark_unchanged();
        self.roster.mark_unchanged();
        self.problems.mark_unchanged();
        self.shown = Some(Instant::now());
        let picture = self.operator.picture(self.problems_only).await;
        Some(picture.map(|status| WatchStatusResponse {
            status: Some(status),
        }))
    }
}

#[tonic::async_trait]
impl Health for Operator {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match self.health_of(&service) {
            ServingStatus::ServiceUnknown => Err(no_such_component(&service)),
            serving => Ok(Response::new(health_response(serving))),
        }
    }

    async fn list(
        &self,
        _request: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let view = self.0.engine.view();
        let mut statuses = std::collections::HashMap::new();
        statuses.insert(String::new(), health_response(ServingStatus::Serving));
        for row in view.rows() {
            if statuses.len() == HEALTH_LIST_MAX {
                return Err(Status::resource_exhausted(format!(
                    "more than {HEALTH_LIST_MAX} components; check them one by one, or ask for the status"
                )));
            }
            statuses.insert(row.id.to_string(), health_response(serving(row.condition)));
        }
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Streamed<HealthCheckResponse>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let state = (self.clone(), service, self.0.engine.watch(), None);
        let changes = futures::stream::unfold(
            state,
            |(operator, service, mut view, mut shown)| async move {
                loop {
                    view.mark_unchanged();
                    let now = operator.health_of(&service);
                    if shown != Some(now) {
                        shown = Some(now);
                        let response = Ok(health_response(now));
                        return Some((response, (operator, service, view, shown)));
                    }
                    tokio::select! {
                        () = operator.0.shutdown.cancelled() => return None,
                        changed = view.changed() => changed.ok()?,
                    }
                }
            },
        );
        Ok(Response::new(Box::pin(changes)))
    }
}

impl Operator {
    fn health_of(&self, service: &str) -> ServingStatus {
        if service.is_empty() {
            return ServingStatus::Serving;
        }
        let view = self.0.engine.view();
        view.get(service)
            .map_or(ServingStatus::ServiceUnknown, |row| serving(row.condition))
    }
}

fn health_response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
