//! What the agent of this host found last, asked on its socket.

use std::path::Path;
use std::time::Duration;

use blackstart_agent::check::Checked;
use blackstart_agent::observation::{Finding, Observation, Status};
use blackstart_proto::limits::MESSAGE_BYTES_MAX;
use blackstart_proto::transport::connect_local;
use blackstart_proto::v1::local_service_client::LocalServiceClient;
use blackstart_proto::v1::{LocalResult, ResultsRequest, Status as StatusMessage};

/// The results of the agent with this state folder, sorted by component and check, each with its age.
pub(super) async fn results(state_dir: &Path, wanted: &[String]) -> Result<Vec<Checked>, String> {
    let channel = connect_local(state_dir).await.map_err(|error| {
        format!("{error}\n  `blackstart check` without --last asks the probes directly")
    })?;
    let mut client = LocalServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request = ResultsRequest {
        wanted: wanted.to_vec(),
    };
    let answer = client
        .results(request)
        .await
        .map_err(|status| format!("the agent answers: {}", status.message()))?
        .into_inner();
    if answer.left_out > 0 {
        eprintln!(
            "blackstart: {} more results did not fit; name components to see theirs",
            answer.left_out
        );
    }
    Ok(answer.results.into_iter().map(checked).collect())
}

/// A result that no longer holds says nothing of now: nobody looked since.
fn checked(result: LocalResult) -> Checked {
    let found = match StatusMessage::try_from(result.status) {
        Ok(StatusMessage::Ok) => Status::Ok,
        Ok(StatusMessage::Degraded) => Status::Degraded,
        Ok(StatusMessage::Starting) => Status::Starting,
        Ok(StatusMessage::Failed) => Status::Failed,
        _ => Status::Unknown,
    };
    let holds = result.age_ms <= u64::from(result.ttl_ms);
    let mut values: Vec<_> = result
        .values
        .into_iter()
        .map(|(name, value)| (name.into(), value))
        .collect();
    values.sort_by(|(a, _): &(std::borrow::Cow<'_, str>, f64), (b, _)| a.cmp(b));
    let finding = if holds {
        Finding {
            progress: result.progress,
            values,
            ..Finding::new(found, result.detail)
        }
    } else {
        Finding::unknown(format!(
            "no answer since; the last was {}: {}",
            found.as_str(),
            result.detail
        ))
    };
    Checked {
        observation: Observation {
            component: result.component,
            check: result.check.into(),
            finding,
        },
        elapsed: Duration::from_millis(result.age_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_longer_holds_is_unknown_and_says_what_it_was() {
        let result = |age_ms| LocalResult {
            component: "etcd-1".to_owned(),
            check: "etcd.member".to_owned(),
            status: StatusMessage::Ok.into(),
            detail: "leader".to_owned(),
            age_ms,
            ttl_ms: 1_000,
            ..LocalResult::default()
        };
        assert_eq!(
            checked(result(1_000)).observation.finding,
            Finding::ok("leader")
        );
        let late = checked(result(1_001)).observation.finding;
        assert_eq!(
            late,
            Finding::unknown("no answer since; the last was ok: leader")
        );
    }
}
