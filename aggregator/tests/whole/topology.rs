//! The topology file, read again while everything runs.

use blackstart_proto::v1;

use crate::agent::{Agent, Aggregator, batch, component, condition, hello, result};
use crate::binary::Binary;

const ONE: &str = "[component.etcd-1]\nkind = \"etcd-member\"\n";
const TWO: &str = "[component.etcd-1]\nkind = \"etcd-member\"\n[component.api]\nkind = \"app\"\nneeds = [\"etcd-1\"]\n";
const BAD: &str = "[component.etcd-1]\nkind = \"etcd-membr\"\n";

#[tokio::test]
async fn a_change_is_taken_at_once_and_a_bad_file_leaves_the_old_one_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("topology.toml");
    std::fs::write(&file, ONE).unwrap();
    let aggregator =
        Aggregator::start_with(|config| config.topology_file = Some(file.clone())).await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let failed = result(v1::Status::Failed, "gone");
    agent.send(batch(7, 1, "etcd-1", vec![failed])).await;
    aggregator
        .until("etcd-1 down", |picture| {
            condition(picture, "etcd-1") == Some(v1::Condition::Down)
        })
        .await;

    std::fs::write(&file, TWO).unwrap();
    let picture = aggregator
        .until("api", |picture| component(picture, "api").is_some())
        .await;
    assert_eq!(condition(&picture, "etcd-1"), Some(v1::Condition::Down));
    assert_eq!(condition(&picture, "api"), Some(v1::Condition::Blocked));

    std::fs::write(&file, BAD).unwrap();
    let picture = aggregator
        .until("the problem", |picture| {
            !picture.aggregator.as_ref().unwrap().problems.is_empty()
        })
        .await;
    let problem = &picture.aggregator.as_ref().unwrap().problems[0];
    assert!(
        problem.starts_with(&format!(
            "topology file {} refused, the one before it stays in force: line 2",
            file.display()
        )),
        "{problem}"
    );
    assert!(component(&picture, "api").is_some());

    // Replaced by another file of that name, as editors do; told by hand as well.
    let other = folder.path().join("other");
    std::fs::write(&other, ONE).unwrap();
    std::fs::rename(&other, &file).unwrap();
    aggregator.running.as_ref().unwrap().reload();
    aggregator
        .until("the problem is gone and api too", |picture| {
            picture.aggregator.as_ref().unwrap().problems.is_empty()
                && component(picture, "api").is_none()
        })
        .await;
    // What it says of the new picture still arrives where it belongs.
    let good = result(v1::Status::Ok, "fine");
    agent.send(batch(7, 2, "etcd-1", vec![good])).await;
    aggregator
        .until("etcd-1 up", |picture| {
            condition(picture, "etcd-1") == Some(v1::Condition::Up)
        })
        .await;
    aggregator.stop().await;
}

#[tokio::test]
async fn after_a_power_cut_a_half_written_file_does_not_keep_the_aggregator_down() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("topology.toml");
    let state_dir = folder.path().join("state");
    let arguments = ["--topology", file.to_str().unwrap()];
    std::fs::write(&file, TWO).unwrap();
    let aggregator = Binary::start(&state_dir, &arguments);
    // What was accepted is remembered with the first commit.
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let good = result(v1::Status::Ok, "fine");
    agent.send(batch(7, 1, "etcd-1", vec![good])).await;
    agent.acknowledged(7, 1).await;
    aggregator.kill();
    std::fs::write(&file, &TWO[..38]).unwrap();
    let aggregator = Binary::start(&state_dir, &arguments);
    let picture = crate::agent::status(aggregator.address).await;
    assert_eq!(picture.aggregator.as_ref().unwrap().problems.len(), 1);
    assert!(component(&picture, "api").is_some());
}
