//! Asks an etcd member and its peers; decides nothing.

use std::fmt;
use std::sync::PoisonError;

use blackstart_config::SecretError;
use futures::future::join_all;
use http::{HeaderValue, header};
use secrecy::ExposeSecret as _;
use serde_json::{Value as Json, json};

use super::EtcdMember;
use super::answer::{self, AskError, Health, Member, MemberStatus};
use crate::net::connect::{ConnectFailure, connect};
use crate::net::http::{HttpFailure, Options, Url, get, post};
use crate::probe::Deadline;

/// The header in which a peer port names its cluster (`etcdserver/api/rafthttp`).
const CLUSTER_ID_HEADER: &str = "x-etcd-cluster-id";

/// The key that is read: etcd's own name for its health check. It need not exist.
const HEALTH_KEY_BASE64: &str = "aGVhbHRo";

/// What one run saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) health: Result<Health, HttpFailure>,
    /// Only when the client port is silent.
    pub(super) silence: Option<Silence>,
    pub(super) status: Result<MemberStatus, AskError>,
    /// How long the reads took, in milliseconds.
    pub(super) linearizable_ms: Result<f64, AskError>,
    pub(super) serializable_ms: Result<f64, AskError>,
    pub(super) peers: Result<Vec<Peer>, AskError>,
    /// Why there is no token, where a login is configured.
    pub(super) login: Result<(), LoginError>,
}

/// What the peer ports say while a client port is silent.
#[derive(Debug)]
pub(super) enum Silence {
    /// Nobody knows where its peer port is.
    NoPeerUrl,
    /// Its own peer port is silent too.
    PeerPortSilent,
    /// Its own peer port does not answer, and says why: TLS, most often.
    PeerPortUnclear(String),
    /// It answers: who is in the cluster, and what the others say.
    PeerPortAnswers {
        cluster_id: Option<String>,
        peers: Vec<Peer>,
    },
}

/// A member and what became of dialling it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Peer {
    pub(super) member: Member,
    /// Whether it is the member that was asked.
    pub(super) is_self: bool,
    /// One for each peer URL.
    pub(super) peer_dials: Vec<Dial>,
    /// One for each client URL.
    pub(super) client_dials: Vec<Dial>,
    /// As its peer port names it; asked only when the client port is silent.
    pub(super) cluster_id: Option<String>,
}

/// What became of dialling a URL.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dial {
    pub(super) url: String,
    /// `None`: it accepts.
    pub(super) failure: Option<String>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the login is refused: {0}")]
    Refused(AskError),
}

impl fmt::Display for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl EtcdMember {
    pub(super) async fn observe(&self, deadline: Deadline) -> Seen {
        let mut options = self.options.lock().await;
        // Half of the time, so that there is some left to find out why it is silent.
        let health = self.get("/health", &options, deadline.share(0.5)).await;
        let mut seen = Seen {
            health,
            silence: None,
            status: Err(AskError::Skipped),
            linearizable_ms: Err(AskError::Skipped),
            serializable_ms: Err(AskError::Skipped),
            peers: Err(AskError::Skipped),
            login: Ok(()),
        };
        match &seen.health {
            Ok(_) => {}
            Err(failure) if failure.is_silence() => {
                seen.silence = Some(self.ask_peer_ports(&options, deadline).await);
                return seen;
            }
            Err(_) => return seen,
        }
        seen.login = self.log_in(&mut options, deadline).await;
        let status = self
            .ask("maintenance/status", &json!({}), &options, deadline)
            .await;
        seen.status = status.map(|(json, _)| MemberStatus::read(&json));
        let (linearizable, serializable, peers) = tokio::join!(
            self.read_linearizable(&seen.status, &options, deadline),
            self.read(true, &options, deadline),
            self.members(&seen.status, &options, deadline),
        );
        if [&linearizable, &serializable]
            .into_iter()
            .any(|read| read.as_ref().is_err_and(AskError::is_stale_token))
        {
            // The next run logs in anew.
            options.headers.clear();
        }
        seen.linearizable_ms = linearizable;
        seen.serializable_ms = serializable;
        seen.peers = peers;
        seen
    }

    async fn get(
        &self,
        path: &str,
        options: &Options,
        deadline: Deadline,
    ) -> Result<Health, HttpFailure> {
        let url = self
            .endpoint
            .with_path(path)
            .map_err(|_| HttpFailure::NotSendable)?;
        get(&url, options, deadline)
            .await
            .map(|answer| Health::read(&answer))
    }

    async fn ask(
        &self,
        method: &str,
        question: &Json,
        options: &Options,
        deadline: Deadline,
    ) -> Result<(Json, f64), AskError> {
        let path = format!("/v3/{method}");
        let url = self
            .endpoint
            .with_path(&path)
            .map_err(|_| HttpFailure::NotSendable)?;
        let answer = post(&url, question.to_string(), options, deadline).await?;
        Ok((answer::json(&answer)?, answer.total_ms))
    }

    /// Gets a token unless there is one. A login is an entry in the raft log, and its password check is made to be slow.
    async fn log_in(&self, options: &mut Options, deadline: Deadline) -> Result<(), LoginError> {
        let Some((name, password)) = &self.login else {
            return Ok(());
        };
        if !options.headers.is_empty() {
            return Ok(());
        }
        let password = password.read()?;
        let question = json!({ "name": name, "password": password.expose_secret() });
        let answer = self
            .ask("auth/authenticate", &question, options, deadline.share(0.5))
            .await;
        let (json, _) = answer.map_err(LoginError::Refused)?;
        let token = json.get("token").and_then(Json::as_str).unwrap_or_default();
        let mut token =
            HeaderValue::try_from(token).map_err(|_| LoginError::Refused(AskError::Garbled))?;
        token.set_sensitive(true);
        options.headers.push((header::AUTHORIZATION, token));
        Ok(())
    }

    /// Without a leader it would only wait, and a learner does not serve it.
    async fn read_linearizable(
        &self,
        status: &Result<MemberStatus, AskError>,
        options: &Options,
        deadline: Deadline,
    ) -> Result<f64, AskError> {
        match status {
            Ok(status) if status.leader == 0 || status.is_learner => Err(AskError::Skipped),
            _ => self.read(false, options, deadline).await,
        }
    }

    async fn read(
        &self,
        serializable: bool,
        options: &Options,
        deadline: Deadline,
    ) -> Result<f64, AskError> {
        let question =
            json!({ "key": HEALTH_KEY_BASE64, "count_only": true, "serializable": serializable });
        self.ask("kv/range", &question, options, deadline)
            .await
            .map(|(_, total_ms)| total_ms)
    }

    /// The members, each dialled.
    async fn members(
        &self,
        status: &Result<MemberStatus, AskError>,
        options: &Options,
        deadline: Deadline,
    ) -> Result<Vec<Peer>, AskError> {
        let alone = status.as_ref().is_ok_and(MemberStatus::lists_members_alone);
        let question = if alone {
            json!({ "linearizable": false })
        } else {
            json!({})
        };
        // The rest is for dialling; a network that swallows packets takes all of it.
        let (json, _) = self
            .ask(
                "cluster/member/list",
                &question,
                options,
                deadline.share(0.6),
            )
            .await?;
        let own_id = status
            .as_ref()
            .map(|status| status.member_id)
            .unwrap_or_default();
        let members = Member::read_list(&json);
        if let Some(own) = members.iter().find(|member| member.id == own_id) {
            self.learn_peer_url(own);
        }
        let dials = members.into_iter().map(|member| async move {
            let (peer_dials, client_dials) = tokio::join!(
                dial_all(&member.peer_urls, deadline),
                dial_all(&member.client_urls, deadline)
            );
            Peer {
                is_self: member.id == own_id,
                member,
                peer_dials,
                client_dials,
                cluster_id: None,
            }
        });
        Ok(join_all(dials).await)
    }

    fn learn_peer_url(&self, own: &Member) {
        if let Some(url) = own.peer_urls.first().and_then(|url| Url::parse(url).ok()) {
            *self
                .own_peer_url
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(url);
        }
    }

    /// Finds out what a member waits for whose client port accepts and stays silent: etcd serves clients only when it
    /// has joined its cluster, and its peers before.
    async fn ask_peer_ports(&self, options: &Options, deadline: Deadline) -> Silence {
        let own = self
            .own_peer_url
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(own) = own else {
            return Silence::NoPeerUrl;
        };
        let (members, cluster_id) = match ask_members(&own, options, deadline.share(0.5)).await {
            Ok(answer) => answer,
            Err(failure) if failure.is_silence() => return Silence::PeerPortSilent,
            Err(failure) => return Silence::PeerPortUnclear(failure.to_string()),
        };
        let peers = members.into_iter().map(|member| {
            let is_self = member
                .peer_urls
                .iter()
                .any(|url| Url::parse(url).is_ok_and(|url| url == own));
            async move {
                let peer_dials = dial_all(&member.peer_urls, deadline).await;
                let accepts = peer_dials.iter().position(|dial| dial.failure.is_none());
                let url = accepts.and_then(|index| Url::parse(member.peer_urls.get(index)?).ok());
                let cluster_id = match url {
                    Some(url) if !is_self => {
                        let answer = ask_members(&url, options, deadline).await;
                        answer.ok().and_then(|(_, cluster_id)| cluster_id)
                    }
                    _ => None,
                };
                Peer {
                    member,
                    is_self,
                    peer_dials,
                    client_dials: Vec::new(),
                    cluster_id,
                }
            }
        });
        Silence::PeerPortAnswers {
            cluster_id,
            peers: join_all(peers).await,
        }
    }
}

/// Asks a peer port who is in its cluster, and which cluster that is. Sends no token: peers need none.
async fn ask_members(
    peer: &Url,
    options: &Options,
    deadline: Deadline,
) -> Result<(Vec<Member>, Option<String>), HttpFailure> {
    let url = peer
        .with_path("/members")
        .map_err(|_| HttpFailure::NotSendable)?;
    let answer = get(&url, options, deadline).await?;
    let cluster_id = answer
        .headers
        .get(CLUSTER_ID_HEADER)
        .and_then(|id| id.to_str().ok());
    let json: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    Ok((Member::read_list(&json), cluster_id.map(str::to_owned)))
}

async fn dial_all(urls: &[String], deadline: Deadline) -> Vec<Dial> {
    // A member has one URL of each kind, or two; more would be a mistake, and must not cost sockets.
    const URLS_MAX: usize = 4;
    join_all(urls.iter().take(URLS_MAX).map(|url| dial(url, deadline))).await
}

async fn dial(url: &str, deadline: Deadline) -> Dial {
    let failure = match Url::parse(url) {
        // A packet that the network swallows must not take the time of the verdict along.
        Ok(parsed) => connect(parsed.address(), None, deadline.share(0.8))
            .await
            .err()
            .map(shown),
        Err(error) => Some(error.to_string()),
    };
    Dial {
        url: url.to_owned(),
        failure,
    }
}

/// The URL stands beside it, so the address is left out.
fn shown(failure: ConnectFailure) -> String {
    match failure {
        ConnectFailure::Refused { .. } => "connection refused".to_owned(),
        ConnectFailure::Timeout { timed_out, .. } => timed_out.to_string(),
        other => other.to_string(),
    }
}
