//! The generator: the same seed gives the same, what it writes is a topology, and the truth is what was done.

use blackstart_graph::{EventKind, Status, Topology};

use super::build::{self, Size, Wishes};
use super::case::{Case, Moment};
use super::estate::Estate;
use super::fleet::{self, Listener, News};
use super::noise::{CELLS, Cell};
use super::sorts::{self, SORTS};
use super::twin;
use super::world::{Harm, Mode, World};

fn cell(name: &str) -> Cell {
    CELLS.into_iter().find(|cell| cell.name == name).unwrap()
}

fn lines(case: &Case) -> Vec<String> {
    let events = case.events();
    events
        .map(|event| serde_json::to_string(&event).unwrap())
        .collect()
}

/// Keeps the news.
#[derive(Default)]
struct Ear(Vec<News>);

impl Listener for Ear {
    fn tell(&mut self, _now: i64, news: News) {
        self.0.push(news);
    }
}

fn heard(estate: &Estate, harms: Vec<Harm>, end: i64) -> Vec<News> {
    let mut ear = Ear::default();
    fleet::run(World::new(estate, harms), end, &mut ear);
    ear.0
}

#[test]
fn a_wrong_argument_is_named() {
    for (arguments, found) in [
        (&["--size", "xxl"][..], "no size xxl"),
        (&["--seeds", "9"], "not a range like 0..100: 9"),
        (&["--seeds", "9..9"], "no seed in 9..9"),
        (&["--seed", "x"], "not a seed: x"),
        (
            &["--cell", "quiet"],
            "no cell quiet; there are: clean loss-2",
        ),
        (&["--cell"], "--cell lacks a value"),
        (&["--save", "x"], "--save needs --seed and one --cell"),
        (&["fast"], "what is fast?"),
    ] {
        let failure = super::read(arguments).unwrap_err().to_string();
        assert!(
            failure.contains(found) && failure.contains("usage:"),
            "{failure}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_events_and_another_one_others() {
    for name in ["clean", "everything", "skew-5m"] {
        let cell = cell(name);
        let first = Case::new(Size::Xs, 7, &cell);
        assert_eq!(
            lines(&first),
            lines(&Case::new(Size::Xs, 7, &cell)),
            "{name}"
        );
        assert_ne!(
            lines(&first),
            lines(&Case::new(Size::Xs, 8, &cell)),
            "{name}"
        );
    }
}

#[test]
fn every_estate_is_a_topology() {
    let drifted = Wishes {
        drifted: true,
        ..Wishes::default()
    };
    let xs = (0..60).map(|seed| (Size::Xs, seed));
    for (size, seed) in xs.chain([(Size::S, 1), (Size::S, 2)]) {
        for wishes in [Wishes::default(), drifted] {
            let estate = build::estate(size, seed, wishes);
            let read = Topology::parse("topology.toml", &estate.toml());
            let read = read.unwrap_or_else(|report| panic!("seed {seed}: {report}"));
            assert_eq!(read.components().len(), estate.parts.len());
        }
    }
}

#[test]
fn sizes_are_what_they_are_said_to_be() {
    let hosts_and_parts = |size| {
        let estate = build::estate(size, 1, Wishes::default());
        (estate.hosts.len(), estate.parts.len())
    };
    let (hosts, parts) = hosts_and_parts(Size::Xs);
    assert!(
        (25..=45).contains(&hosts) && (150..=300).contains(&parts),
        "{hosts} {parts}"
    );
    let (hosts, parts) = hosts_and_parts(Size::S);
    assert!(
        (180..=220).contains(&hosts) && (4_000..=6_000).contains(&parts),
        "{hosts} {parts}"
    );
}

#[test]
fn events_are_in_order_and_read_back_as_they_were_written() {
    let case = Case::new(Size::Xs, 3, &cell("everything"));
    let events: Vec<_> = case.events().collect();
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at));
    for (event, line) in events.iter().zip(lines(&case)) {
        assert_eq!(
            serde_json::from_str::<blackstart_graph::Event>(&line).unwrap(),
            *event
        );
    }
}

#[test]
fn where_nothing_is_broken_nothing_is_seen_to_fail() {
    for seed in 0..10 {
        let estate = build::estate(Size::Xs, seed, Wishes::default());
        for news in heard(&estate, Vec::new(), 60) {
            match news {
                News::Seen { status, .. } => assert_eq!(status, Status::Ok),
                News::Connected { .. } => {}
                News::Lost { .. } | News::Restarted { .. } => panic!("{news:?}"),
            }
        }
    }
}

#[test]
fn the_true_causes_alone_would_have_told_the_same() {
    for seed in 0..30 {
        let case = Case::new(Size::Xs, seed, &cell("clean"));
        for moment in Moment::ALL {
            let second = case.second(moment);
            let truth = case.causes(second);
            assert!(
                twin::looks_alike(&case, &truth, second),
                "seed {seed} {truth:?}"
            );
            let nothing = twin::looks_alike(&case, &[], second);
            assert_eq!(nothing, twin::is_unseen(&case, second), "seed {seed}");
        }
    }
}

#[test]
fn a_switch_in_the_place_of_its_rack_is_right_and_one_cause_too_many_is_wrong() {
    let cell = cell("no-out-of-band");
    // A rack without power, single-fed, one switch: before it returns nobody can tell.
    let (case, name) = (0..2_000)
        .map(|seed| Case::new(Size::Xs, seed, &cell))
        .find_map(|case| match &case.story.faults[..] {
            [fault] if fault.sort == "rack power" => {
                let name = fault.causes[0].trim_start_matches("rack-").to_owned();
                case.estate
                    .by_id
                    .contains_key(&format!("tor-{name}"))
                    .then_some((case, name))
            }
            _ => None,
        })
        .unwrap();
    let is_right = |moment, causes: &[&str]| {
        let causes: Vec<String> = causes
            .iter()
            .map(|cause| format!("{cause}-{name}"))
            .collect();
        twin::is_of_class(&case, &causes, case.second(moment))
    };
    assert!(is_right(Moment::After60, &["rack"]));
    assert!(is_right(Moment::After60, &["tor"]));
    assert!(!is_right(Moment::After60, &["rack", "tor"]), "one too many");
    assert!(
        !is_right(Moment::End, &["tor"]),
        "its hosts came back with another boot"
    );
    assert!(is_right(Moment::End, &["rack"]));
}

#[test]
fn every_sort_of_fault_is_drawn_and_every_choice_of_it_names_what_there_is() {
    let estate = build::estate(Size::Xs, 2, Wishes::default());
    for sort in SORTS {
        let choices = sorts::choices(&estate, sort);
        let shares: f64 = choices.iter().map(|choice| choice.share).sum();
        assert!(
            choices.is_empty() || (shares - 1.0).abs() < 1e-9,
            "{sort}: {shares}"
        );
        for choice in choices {
            assert!(
                choice.hits.iter().all(|(parts, _)| !parts.is_empty()),
                "{sort}"
            );
            for cause in choice.causes {
                assert!(
                    cause.starts_with("label:") || estate.by_id.contains_key(&cause),
                    "{cause}"
                );
            }
        }
    }
    let mut drawn: Vec<&str> = Vec::new();
    for seed in 0..300 {
        let case = build::estate(Size::Xs, seed, Wishes::default());
        let story = super::fault::story(&case, &mut super::rng::Rng::new(seed, 2), None);
        drawn.extend(story.faults.iter().map(|fault| fault.sort));
    }
    for sort in SORTS {
        assert!(drawn.contains(&sort), "{sort} is never drawn");
    }
}

#[test]
fn a_host_without_power_returns_with_another_boot_and_a_dead_agent_with_the_same() {
    let estate = build::estate(Size::Xs, 1, Wishes::default());
    let host = estate.by_id["host-1-1-2-2"];
    for (mode, boot) in [(Mode::Off, 1), (Mode::Cut, 0), (Mode::AgentDead, 0)] {
        let harm = Harm {
            parts: vec![host],
            mode,
            from: 30,
            until: 90,
        };
        let news = heard(&estate, vec![harm], 400);
        let own: Vec<&News> = news
            .iter()
            .filter(|news| matches!(news, News::Lost { host: who } | News::Connected { host: who, .. } if *who == host))
            .collect();
        assert!(
            matches!(own[..], [News::Connected { boot: 0, .. }, News::Lost { .. }, News::Connected { boot: back, .. }] if *back == boot),
            "{mode:?}: {own:?}"
        );
    }
}

#[test]
fn the_second_supply_of_a_rack_carries_it_and_the_last_one_does_not() {
    let estate = build::estate(Size::Xs, 1, Wishes::default());
    let two = estate
        .of_kind(blackstart_graph::Kind::Rack)
        .into_iter()
        .find(|rack| estate.parts[*rack].edges[0].group.of.len() == 2);
    let rack = two.unwrap();
    let pdus = estate.parts[rack].edges[0].group.of.clone();
    let lost = |parts: &[usize]| {
        let harm = Harm {
            parts: parts.to_vec(),
            mode: Mode::Off,
            from: 30,
            until: 1_000,
        };
        let news = heard(&estate, vec![harm], 90);
        news.iter()
            .filter(|news| matches!(news, News::Lost { .. }))
            .count()
    };
    assert_eq!(lost(&pdus[..1]), 0);
    let hosts = estate
        .hosts
        .iter()
        .filter(|host| estate.is_inside(**host, rack));
    assert_eq!(lost(&pdus), hosts.count());
}

#[test]
fn so_many_answers_are_lost_wrong_and_late_as_the_cell_says() {
    let seen = |name: &str| -> Vec<(Status, bool)> {
        let case = Case::new(Size::Xs, 11, &cell(name));
        let events = case.events();
        let seen = events.filter_map(|event| match event.kind {
            EventKind::Observation {
                status, sampled_at, ..
            } => Some((
                status,
                sampled_at.is_some_and(|at| event.at.since(at).as_secs() > 2),
            )),
            _ => None,
        });
        seen.collect()
    };
    let clean = seen("clean");
    let share = |part: usize, of: usize| part as f64 / of as f64;
    let kept = share(seen("loss-20").len(), clean.len());
    assert!((0.78..0.82).contains(&kept), "{kept}");
    let not_ok = |seen: &[(Status, bool)]| {
        seen.iter()
            .filter(|(status, _)| *status != Status::Ok)
            .count()
    };
    let wrong = seen("wrong-5");
    let more = share(not_ok(&wrong), wrong.len()) - share(not_ok(&clean), clean.len());
    assert!((0.03..0.06).contains(&more), "{more}");
    let late = seen("delayed-60");
    let late = share(
        late.iter().filter(|(_, is_late)| *is_late).count(),
        late.len(),
    );
    assert!((0.2..0.5).contains(&late), "{late}");
}

#[test]
fn the_aggregator_dates_by_its_own_clock_whatever_those_of_the_agents_say() {
    let case = Case::new(Size::Xs, 5, &cell("skew-5m"));
    for event in case.events() {
        if let EventKind::Observation {
            sampled_at: Some(sampled),
            ..
        } = event.kind
        {
            let age = event.at.since(sampled).as_secs();
            // A cut agent delivers what waited, so only what came at once is asked.
            assert!(age < 400, "{age} s old");
        }
    }
}
