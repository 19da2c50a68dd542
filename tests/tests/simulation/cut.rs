//! One agent whose path to the aggregator is lost in the ways that paths are lost.

use std::time::Duration;

use blackstart_agent::observation::Status;
use blackstart_proto::limits::SILENCE_MAX;
use blackstart_proto::v1::Condition;

use crate::agent::Plan;
use crate::probe::Script;
use crate::world::{
    AGGREGATOR, BACK_WITHIN, LATENCY, LOST_AFTER, SEEN_WITHIN, TICK, World, condition, for_seeds,
    is_connected,
};

#[test]
fn over_a_slow_path_everything_arrives_once_and_is_dated_within_its_latency() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let (web, db) = (Script::new("web-1/web"), Script::new("web-1/db"));
        world.aggregator();
        let agent = world.agent(Plan::new("web-1", &[&web, &db]));
        world.until("both are up", Duration::from_secs(5), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
                && condition(picture, "web-1/db") == Some(Condition::Up)
        });
        world.pass(Duration::from_secs(20));
        db.say(Status::Failed);
        // The probe's next run, and then at once.
        world.until(
            "the failed one is down",
            Duration::from_secs(3),
            |picture| condition(picture, "web-1/db") == Some(Condition::Down),
        );
        assert_eq!(
            condition(&world.picture(), "web-1/web"),
            Some(Condition::Up)
        );
        world.pass(Duration::from_secs(20));
        let until = world.now_us();
        world.stop(&[&agent]);
        let journal = world.last_journal();
        journal.check_no_hole();
        for script in [&web, &db] {
            assert!(script.answered_us().len() > 15);
            journal.check_once(script);
            assert_eq!(journal.missing(script, until), Vec::<usize>::new());
            for result in journal.of(script) {
                let answered = script.answered_us()[result.number.unwrap() - 1];
                let late = result.sampled_us - answered;
                let most = i64::try_from((LATENCY.1 + 2 * TICK).as_micros()).unwrap();
                assert!(
                    (0..=most).contains(&late),
                    "dated {late} us late: {result:?}"
                );
            }
        }
        assert_eq!(journal.count("agent_connected", "web-1"), 1);
        assert_eq!(journal.count("agent_lost", "web-1"), 0);
    });
}

#[test]
fn a_path_lost_for_ten_seconds_loses_nobody_and_nothing() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let web = Script::new("web-1/web");
        world.aggregator();
        let agent = world.agent(Plan::new("web-1", &[&web]));
        world.until("it is up", Duration::from_secs(5), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        world.pass(Duration::from_secs(10));
        world.network().partition("web-1", AGGREGATOR);
        world.pass(Duration::from_secs(10));
        // What was on its way is lost for good, so the old stream is dead: only silence tells.
        world.network().repair("web-1", AGGREGATOR);
        let repaired = world.now_us();
        world.pass(SILENCE_MAX);
        let picture = world.picture();
        assert_eq!(condition(&picture, "web-1/web"), Some(Condition::Up));
        assert!(is_connected(&picture, "web-1"), "{picture:#?}");
        let until = world.now_us();
        world.stop(&[&agent]);
        let journal = world.last_journal();
        journal.check_no_hole();
        journal.check_once(&web);
        assert_eq!(journal.missing(&web, until), Vec::<usize>::new());
        assert_eq!(journal.count("agent_lost", "web-1"), 0);
        assert!(
            web.answered_us().iter().any(|at| *at < repaired),
            "the probe ran while the path was lost"
        );
    });
}

#[test]
fn behind_a_black_hole_an_agent_is_lost_in_time_and_all_it_saw_arrives_afterwards() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let web = Script::new("web-1/web");
        world.aggregator();
        let mut plan = Plan::new("web-1", &[&web]);
        // Its answers hold for 41 s, longer than it takes to find the agent lost.
        plan.interval = Duration::from_secs(10);
        let agent = world.agent(plan);
        world.until("it is up", Duration::from_secs(5), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        world.pass(Duration::from_secs(10));
        world.network().hold("web-1", AGGREGATOR);
        let ended = world.until(
            "the stream is given up",
            SILENCE_MAX + SEEN_WITHIN,
            |picture| !is_connected(picture, "web-1"),
        );
        assert!(ended > SILENCE_MAX / 2, "after {ended:?}");
        // Within the grace nothing is said of what it watches.
        assert_eq!(
            condition(&world.picture(), "web-1/web"),
            Some(Condition::Up)
        );
        world.until(
            "silence is unknown, not down",
            LOST_AFTER + SEEN_WITHIN,
            |picture| condition(picture, "web-1/web") == Some(Condition::Unknown),
        );
        assert_eq!(
            condition(&world.picture(), "web-1"),
            Some(Condition::Unknown)
        );
        web.say(Status::Failed);
        world.pass(Duration::from_secs(60));
        let unseen = world.journal().missing(&web, world.now_us()).len();
        assert!(unseen > 15, "{unseen} answers wait in the spool");
        world.network().release("web-1", AGGREGATOR);
        world.until("it is seen down", BACK_WITHIN, |picture| {
            condition(picture, "web-1/web") == Some(Condition::Down)
        });
        let until = world.now_us();
        world.stop(&[&agent]);
        let journal = world.last_journal();
        journal.check_no_hole();
        journal.check_once(&web);
        assert_eq!(journal.missing(&web, until), Vec::<usize>::new());
        assert_eq!(journal.count("agent_lost", "web-1"), 1);
        assert_eq!(journal.count("agent_connected", "web-1"), 2);
    });
}

/// The same seed gives the same journal, byte for byte, in whatever time the machine took for it.
#[test]
fn the_same_seed_gives_the_same_journal() {
    let run = |seed| {
        let mut world = World::new(seed);
        let (web, db) = (Script::new("web-1/web"), Script::new("web-2/db"));
        world.aggregator();
        let agents = [
            world.agent(Plan::new("web-1", &[&web])),
            world.agent(Plan::new("web-2", &[&db])),
        ];
        world.pass(Duration::from_secs(10));
        world.network().hold("web-1", AGGREGATOR);
        world.network().partition("web-2", AGGREGATOR);
        world.pass(Duration::from_secs(30));
        world.network().release("web-1", AGGREGATOR);
        world.network().repair("web-2", AGGREGATOR);
        world.pass(Duration::from_secs(30));
        world.stop(&[&agents[0], &agents[1]]);
        world.last_journal().text
    };
    let first = run(7);
    assert_eq!(first, run(7));
    assert_ne!(first, run(8));
}
