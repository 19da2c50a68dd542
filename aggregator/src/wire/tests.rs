//! Bad messages, each with the exact reason an agent is told.

use super::*;

fn hello() -> v1::Hello {
    v1::Hello {
        protocol_min: 1,
        protocol_max: 1,
        host: "web-1".to_owned(),
        boot_id: "b6c1".to_owned(),
        incarnation: 7,
        ..v1::Hello::default()
    }
}

fn batch() -> v1::Batch {
    v1::Batch {
        incarnation: 7,
        boot_id: "b6c1".to_owned(),
        first_sequence: 1,
        definitions: vec![v1::TargetDefinition {
            target: 0,
            component: "etcd-1".to_owned(),
            check: "etcd.member".to_owned(),
            value_names: vec!["rtt_ms".to_owned()],
            ttl_ms: 30_000,
        }],
        results: vec![v1::Result {
            status: 1,
            values: vec![0.3],
            ..v1::Result::default()
        }],
        ..v1::Batch::default()
    }
}

fn reason(kind: Asked) -> String {
    let message = v1::SessionRequest { kind: Some(kind) };
    match FromAgent::try_from(message) {
        Ok(good) => format!("taken: {good:?}"),
        Err(invalid) => invalid.to_string(),
    }
}

fn hello_with(change: impl FnOnce(&mut v1::Hello)) -> String {
    let mut hello = hello();
    change(&mut hello);
    reason(Asked::Hello(hello))
}

fn batch_with(change: impl FnOnce(&mut v1::Batch)) -> String {
    let mut batch = batch();
    change(&mut batch);
    reason(Asked::Batch(batch))
}

#[test]
fn good_messages_are_taken() {
    assert!(hello_with(|_| {}).starts_with("taken"));
    assert!(batch_with(|_| {}).starts_with("taken"));
    assert!(batch_with(|batch| batch.results.clear()).starts_with("taken"));
}

#[test]
fn an_unknown_kind_is_ignored() {
    let message = v1::SessionRequest { kind: None };
    assert!(matches!(message.try_into(), Ok(FromAgent::Unknown)));
}

#[test]
fn a_broken_hello_is_told_which_field_and_how() {
    const ID: &str =
        "expected 1 to 256 bytes without control characters and without space around them";
    assert_eq!(
        hello_with(|hello| hello.host.clear()),
        format!("hello.host is \"\", {ID}")
    );
    assert_eq!(
        hello_with(|hello| hello.host = "web\u{7}1".to_owned()),
        format!("hello.host is \"web\\u{{7}}1\", {ID}")
    );
    assert_eq!(
        hello_with(|hello| hello.host = " web-1".to_owned()),
        format!("hello.host is \" web-1\", {ID}")
    );
    assert_eq!(
        hello_with(|hello| hello.spooled_incarnations = vec![1; 65]),
        "hello.spooled_incarnations is 65, expected 64 entries at most"
    );
    assert_eq!(
        hello_with(|hello| hello.boot_id.clear()),
        "hello.boot_id is \"\", expected 1 to 128 bytes without control characters and without \
         space around them"
    );
    let long = hello_with(|hello| hello.agent_version = "x".repeat(129));
    assert!(long.starts_with("hello.agent_version is \"xxxxx"), "{long}");
    assert!(long.ends_with("x…, expected 128 bytes at most"), "{long}");
}

#[test]
fn a_broken_batch_is_told_which_field_and_how() {
    let first =
        |change: fn(&mut v1::Result)| batch_with(|batch| batch.results.iter_mut().for_each(change));
    let definition = |change: fn(&mut v1::TargetDefinition)| {
        batch_with(|batch| batch.definitions.iter_mut().for_each(change))
    };
    for (found, expected) in [
        (
            batch_with(|batch| batch.first_sequence = 0),
            "batch.first_sequence is 0, expected a sequence, counted from 1",
        ),
        (
            batch_with(|batch| batch.first_sequence = u64::MAX),
            "batch.first_sequence is 18446744073709551615, expected a sequence, counted from 1",
        ),
        (
            batch_with(|batch| batch.results = vec![v1::Result::default(); 1_001]),
            "batch.results is 1001, expected 1000 entries at most",
        ),
        (
            first(|result| result.status = 0),
            "batch.results[0].status is 0, expected a status from 1 to 5",
        ),
        (
            first(|result| result.status = 6),
            "batch.results[0].status is 6, expected a status from 1 to 5",
        ),
        (
            first(|result| result.progress = Some(0.5)),
            "batch.results[0].progress is 0.5, expected none, as its status is not STATUS_STARTING",
        ),
        (
            first(|result| (result.status, result.progress) = (3, Some(1.5))),
            "batch.results[0].progress is 1.5, expected 0 to 1",
        ),
        (
            first(|result| (result.status, result.progress) = (3, Some(f32::NAN))),
            "batch.results[0].progress is NaN, expected 0 to 1",
        ),
        (
            first(|result| result.values = vec![0.0; 33]),
            "batch.results[0].values is 33, expected 32 entries at most",
        ),
        (
            definition(|definition| definition.target = 10_000),
            "batch.definitions[0].target is 10000, expected a number below 10000",
        ),
        (
            definition(|definition| definition.ttl_ms = 0),
            "batch.definitions[0].ttl_ms is 0, expected 1 to 691200000",
        ),
        (
            definition(|definition| definition.value_names = vec!["v".to_owned(); 33]),
            "batch.definitions[0].value_names is 33, expected 32 entries at most",
        ),
        (
            definition(|definition| definition.check.clear()),
            "batch.definitions[0].check is \"\", expected 1 to 128 bytes without control \
             characters and without space around them",
        ),
    ] {
        assert_eq!(found, expected);
    }
    let long = first(|result| result.detail = Some("é".repeat(300)));
    assert!(long.ends_with("…, expected 512 bytes at most"), "{long}");
}

#[test]
fn a_detail_becomes_one_line_and_the_infinite_was_not_measured() {
    let mut raw = batch();
    raw.results[0].detail = Some("first\nsecond\u{1b}[31m".to_owned());
    raw.results[0].values = vec![f64::INFINITY];
    let batch = Batch::try_from(raw).unwrap();
    let result = batch.results().next().unwrap();
    assert_eq!(result.detail, Some("first second [31m"));
    assert!(result.values[0].is_nan());
}

#[test]
fn broken_discovery_is_told_which_component() {
    let component = |id: &str| v1::DiscoveredComponent {
        id: id.to_owned(),
        kind: "database".to_owned(),
        ..v1::DiscoveredComponent::default()
    };
    let discovery = |components| reason(Asked::Discovery(v1::Discovery { components }));
    assert!(discovery(vec![component("web-1/postgres:5432")]).starts_with("taken"));
    assert!(
        discovery(vec![component("a"), component("")])
            .starts_with("discovery.components[1].id is \"\", expected 1 to 256 bytes")
    );
    assert_eq!(
        discovery(vec![component("a"); 1_001]),
        "discovery.components is 1001, expected 1000 entries at most"
    );
}
