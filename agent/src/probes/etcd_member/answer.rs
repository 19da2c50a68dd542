//! What etcd's JSON gateway and its peer port answer, read into plain values.
//!
//! 64-bit numbers are texts there and zeroes are left out (protobuf's JSON form); the field names are those of
//! `etcdserverpb/rpc.proto`. Nothing here does I/O.

use serde_json::Value as Json;

use crate::net::http::{HttpAnswer, HttpFailure};

/// The most members that are looked at: etcd advises at most seven, with learners nine are seen.
pub(super) const MEMBERS_MAX: usize = 15;

/// Why a question has no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Http(#[from] HttpFailure),
    /// etcd says no; its own words.
    #[error("{message}")]
    Refused { message: String },
    /// Nobody serves that path: the gateway is off, or etcd is older than 3.4.
    #[error("the JSON gateway does not answer (etcd before 3.4, or --enable-grpc-gateway=false)")]
    NoGateway,
    #[error("the answer cannot be read")]
    Garbled,
    /// It was not asked, because another answer says enough.
    #[error("not asked")]
    Skipped,
}

impl AskError {
    /// Whether etcd wants a login, another login, or more rights for this one.
    pub(super) fn is_login(&self) -> bool {
        const WORDS: [&str; 5] = [
            "user name is empty",
            "authentication failed",
            "invalid auth token",
            "permission denied",
            "user name not found",
        ];
        matches!(self, Self::Refused { message } if WORDS.iter().any(|word| message.contains(word)))
    }

    /// Whether the token has run out, so that a new login helps.
    pub(super) fn is_stale_token(&self) -> bool {
        matches!(self, Self::Refused { message } if message.contains("invalid auth token"))
    }
}

/// Reads a gateway's answer as JSON, or etcd's refusal out of it.
pub(super) fn json(answer: &HttpAnswer) -> Result<Json, AskError> {
    if answer.status == 404 {
        return Err(AskError::NoGateway);
    }
    let json: Result<Json, _> = serde_json::from_slice(&answer.body);
    if answer.status == 200 {
        return json.map_err(|_| AskError::Garbled);
    }
    let message = match &json {
        Ok(json) => text(json, "error").or_else(|| text(json, "message")),
        Err(_) => None,
    };
    let status = answer.status;
    Err(AskError::Refused {
        message: message.unwrap_or_else(|| format!("HTTP status {status}")),
    })
}

/// `/health`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Health {
    pub(super) status: u16,
    /// What it says; `None` when it is no such answer.
    pub(super) healthy: Option<bool>,
    pub(super) reason: String,
    pub(super) total_ms: f64,
    /// A TLS server was asked without TLS.
    pub(super) wants_tls: bool,
}

impl Health {
    pub(super) fn read(answer: &HttpAnswer) -> Self {
        let json: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
        let healthy = match json.get("health") {
            Some(Json::Bool(healthy)) => Some(*healthy),
            Some(Json::String(text)) => text.parse().ok(),
            _ => None,
        };
        Self {
            status: answer.status,
            healthy,
            reason: text(&json, "reason").unwrap_or_default(),
            total_ms: answer.total_ms,
            wants_tls: answer.status == 400
                && String::from_utf8_lossy(&answer.body).contains("HTTPS server"),
        }
    }
}

/// `Maintenance.Status`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct MemberStatus {
    pub(super) member_id: u64,
    pub(super) version: String,
    /// The leader's id; zero is none.
    pub(super) leader: u64,
    pub(super) raft_term: u64,
    pub(super) raft_index: u64,
    pub(super) raft_applied_index: u64,
    pub(super) db_bytes: u64,
    pub(super) db_in_use_bytes: u64,
    /// From 3.6 on.
    pub(super) db_quota_bytes: Option<u64>,
    pub(super) is_learner: bool,
    pub(super) alarms: Vec<Alarm>,
}

/// An alarm: which member raised it, and what it is (`NOSPACE`, `CORRUPT`).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alarm {
    pub(super) member_id: u64,
    pub(super) kind: String,
}

impl MemberStatus {
    pub(super) fn read(json: &Json) -> Self {
        let errors = json.get("errors").and_then(Json::as_array);
        let errors = errors.into_iter().flatten().filter_map(Json::as_str);
        Self {
            member_id: json
                .get("header")
                .map(|header| number(header, "member_id"))
                .unwrap_or_default(),
            version: text(json, "version").unwrap_or_default(),
            leader: number(json, "leader"),
            raft_term: number(json, "raftTerm"),
            raft_index: number(json, "raftIndex"),
            raft_applied_index: number(json, "raftAppliedIndex"),
            db_bytes: number(json, "dbSize"),
            db_in_use_bytes: number(json, "dbSizeInUse"),
            db_quota_bytes: Some(number(json, "dbSizeQuota")).filter(|&bytes| bytes > 0),
            is_learner: json.get("isLearner") == Some(&Json::Bool(true)),
            alarms: errors.filter_map(Alarm::read).collect(),
        }
    }

    /// Entries that are committed and not applied yet.
    pub(super) const fn apply_lag(&self) -> u64 {
        self.raft_index.saturating_sub(self.raft_applied_index)
    }

    /// Whether a list of members can be had from its own store (3.5 and later), and not only through a quorum.
    pub(super) fn lists_members_alone(&self) -> bool {
        let mut parts = self
            .version
            .split('.')
            .map_while(|part| part.parse::<u32>().ok());
        (parts.next(), parts.next()) >= (Some(3), Some(5))
    }
}

impl Alarm {
    /// Reads `memberID:4518483 alarm:NOSPACE `, as the status shows it among its errors.
    fn read(error: &str) -> Option<Self> {
        let mut words = error.split_whitespace();
        let member_id = words.next()?.strip_prefix("memberID:")?.parse().ok()?;
        let kind = words.next()?.strip_prefix("alarm:")?.to_owned();
        Some(Self { member_id, kind })
    }
}

/// A member of the list.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Member {
    pub(super) id: u64,
    /// Empty for one that was added and has not started yet.
    pub(super) name: String,
    pub(super) peer_urls: Vec<String>,
    pub(super) client_urls: Vec<String>,
    pub(super) is_learner: bool,
}

impl Member {
    /// Reads the members of `Cluster.MemberList`, whose ids are called `ID`, or of a peer port's `/members`.
    pub(super) fn read_list(json: &Json) -> Vec<Self> {
        let list = json.get("members").unwrap_or(json).as_array();
        let list = list.into_iter().flatten().take(MEMBERS_MAX);
        let mut members: Vec<Self> = list.map(Self::read).collect();
        // etcd gives them in the order of its ids, and so in another one for each cluster.
        members.sort_by(|a, b| a.name.cmp(&b.name).then(a.id.cmp(&b.id)));
        members
    }

    fn read(json: &Json) -> Self {
        let texts = |key: &str| {
            let texts = json.get(key).and_then(Json::as_array).into_iter().flatten();
            texts.filter_map(Json::as_str).map(str::to_owned).collect()
        };
        Self {
            id: number(json, "ID").max(number(json, "id")),
            name: text(json, "name").unwrap_or_default(),
            peer_urls: texts("peerURLs"),
            client_urls: texts("clientURLs"),
            is_learner: json.get("isLearner") == Some(&Json::Bool(true)),
        }
    }

    /// Its name, or its id as etcd prints it.
    pub(super) fn shown(&self) -> String {
        if self.name.is_empty() {
            format!("{:x}", self.id)
        } else {
            self.name.clone()
        }
    }
}

fn text(json: &Json, key: &str) -> Option<String> {
    json.get(key).and_then(Json::as_str).map(str::to_owned)
}

fn number(json: &Json, key: &str) -> u64 {
    match json.get(key) {
        Some(Json::String(text)) => text.parse().unwrap_or_default(),
        Some(value) => value.as_u64().unwrap_or_default(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_read_with_its_alarms() {
        let status = MemberStatus::read(&json!({
            "header": { "cluster_id": "1", "member_id": "4518483" },
            "version": "3.4.23", "dbSize": "16805888", "leader": "77", "raftIndex": "30", "raftTerm": "2",
            "raftAppliedIndex": "28", "errors": ["memberID:4518483 alarm:NOSPACE ", "etcdserver: no leader"],
        }));
        assert_eq!(
            status.alarms,
            [Alarm {
                member_id: 4_518_483,
                kind: "NOSPACE".to_owned()
            }]
        );
        assert_eq!(
            (status.leader, status.apply_lag(), status.db_bytes),
            (77, 2, 16_805_888)
        );
        assert!(!status.is_learner && !status.lists_members_alone());
    }

    #[test]
    fn what_is_missing_is_zero_and_what_is_garbage_is_ignored() {
        for garbage in [
            json!({}),
            json!([]),
            json!(null),
            json!({ "leader": [], "errors": 7 }),
        ] {
            assert_eq!(MemberStatus::read(&garbage), MemberStatus::default());
            assert_eq!(Member::read_list(&garbage), []);
        }
    }

    #[test]
    fn versions_from_3_5_on_list_members_alone() {
        for (version, alone) in [
            ("3.4.23", false),
            ("3.5.1", true),
            ("3.10.0", true),
            ("4.0.0", true),
            ("", false),
        ] {
            let status = MemberStatus {
                version: version.to_owned(),
                ..MemberStatus::default()
            };
            assert_eq!(status.lists_members_alone(), alone, "{version}");
        }
    }

    #[test]
    fn members_are_read_from_both_ports() {
        let gateway = json!({ "members": [{ "ID": "7", "name": "m1", "peerURLs": ["http://a:1"], "clientURLs": ["http://a:2"] }] });
        let peer = json!([{ "id": 7, "name": "m1", "peerURLs": ["http://a:1"], "clientURLs": ["http://a:2"] }]);
        assert_eq!(Member::read_list(&gateway), Member::read_list(&peer));
        assert_eq!(Member::read_list(&peer)[0].id, 7);
    }
}
