//! Processes that are killed and hosts that lose power, on either side of the network.

use std::time::Duration;

use blackstart_agent::observation::Status;
use blackstart_proto::v1::Condition;

use crate::agent::Plan;
use crate::journal::Journal;
use crate::probe::Script;
use crate::world::{
    AGGREGATOR, BACK_WITHIN, LATENCY, TICK, World, agent, condition, for_seeds, is_connected,
};

/// How long a result may be only in memory: the spool's flush interval, and a packet's way.
const UNWRITTEN: Duration = Duration::from_millis(1_200);

#[test]
fn an_aggregator_killed_again_and_again_goes_on_from_its_journal() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let scripts = [
            Script::new("web-1/web"),
            Script::new("web-2/web"),
            Script::new("web-3/web"),
        ];
        world.aggregator();
        let agents: Vec<_> = ["web-1", "web-2", "web-3"]
            .iter()
            .zip(&scripts)
            .map(|(host, script)| world.agent(Plan::new(host, &[script])))
            .collect();
        for round in 0..6 {
            world.pass(Duration::from_millis(1_300 + 977 * ((seed + round) % 5)));
            world.kill(AGGREGATOR);
            let kept = world.journal();
            world.pass(Duration::from_millis(500 + 1_771 * ((seed + round) % 4)));
            world.start(AGGREGATOR);
            let again = world.journal();
            assert!(again.text.starts_with(&kept.text), "what was kept is kept");
        }
        scripts[1].say(Status::Failed);
        world.until("all are back, and one is down", BACK_WITHIN, |picture| {
            ["web-1", "web-2", "web-3"]
                .iter()
                .all(|host| is_connected(picture, host))
                && condition(picture, "web-1/web") == Some(Condition::Up)
                && condition(picture, "web-2/web") == Some(Condition::Down)
                && condition(picture, "web-3/web") == Some(Condition::Up)
        });
        let until = world.now_us();
        world.stop(&agents.iter().collect::<Vec<_>>());
        let journal = world.last_journal();
        journal.check_no_hole();
        for (script, agent) in scripts.iter().zip(&agents) {
            journal.check_once(script);
            assert_eq!(journal.missing(script, until), Vec::<usize>::new());
            assert_eq!(journal.count("agent_lost", agent.host()), 0);
        }
    });
}

#[test]
fn an_agent_killed_again_and_again_loses_at_most_what_it_had_not_written() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let web = Script::new("web-1/web");
        world.aggregator();
        let agent = world.agent(Plan::new("web-1", &[&web]));
        let mut kills = Vec::new();
        for round in 0..8 {
            world.pass(Duration::from_millis(1_700 + 1_213 * ((seed + round) % 4)));
            world.kill("web-1");
            kills.push(world.now_us());
            world.pass(Duration::from_millis(300 * ((seed + round) % 3)));
            world.start("web-1");
        }
        world.until("it is back", Duration::from_secs(5), |picture| {
            is_connected(picture, "web-1")
        });
        world.pass(Duration::from_secs(5));
        assert_eq!(
            condition(&world.picture(), "web-1/web"),
            Some(Condition::Up)
        );
        let until = world.now_us();
        world.stop(&[&agent]);
        let journal = world.last_journal();
        journal.check_once(&web);
        let answered = web.answered_us();
        let unwritten = i64::try_from(UNWRITTEN.as_micros()).unwrap();
        for number in journal.missing(&web, until) {
            let at = answered[number - 1];
            let just_before_a_kill = kills
                .iter()
                .any(|kill| (0..unwritten).contains(&(kill - at)));
            assert!(
                just_before_a_kill,
                "answer {number} at {at}, kills {kills:?}"
            );
        }
        assert_eq!(journal.count("agent_lost", "web-1"), 0);
        // One for each incarnation: an agent that was killed before it said hello was none.
        let connected = journal.count("agent_connected", "web-1");
        assert!((5..=9).contains(&connected), "{connected}");
    });
}

#[test]
fn a_host_back_within_seconds_takes_the_place_of_its_dead_stream() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let web = Script::new("web-1/web");
        world.aggregator();
        let agent = world.agent(Plan::new("web-1", &[&web]));
        world.pass(Duration::from_secs(10));
        // Nobody tells the aggregator that the stream is dead.
        world.cut_power("web-1", &[AGGREGATOR]);
        world.pass(Duration::from_secs(2));
        assert!(
            is_connected(&world.picture(), "web-1"),
            "it cannot know yet"
        );
        agent.reboot(world.now());
        world.start("web-1");
        world.until("the new boot is there", Duration::from_secs(3), |picture| {
            crate::world::agent(picture, "web-1")
                .is_some_and(|agent| agent.boot_id == "web-1-boot-2")
        });
        world.pass_while("connected", Duration::from_secs(20), |picture| {
            is_connected(picture, "web-1")
        });
        let journal = world.journal();
        journal.check_once(&web);
        assert_eq!(journal.count("agent_lost", "web-1"), 0);
        assert_eq!(journal.count("agent_connected", "web-1"), 2);
    });
}

#[test]
fn what_a_host_saw_before_its_power_was_cut_arrives_after_its_return_with_its_own_times() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let web = Script::new("web-1/web");
        world.aggregator();
        let mut plan = Plan::new("web-1", &[&web]);
        // Wrong, and equally so before and after.
        plan.wall_ahead_us = -3_600_000_000;
        let web_1 = world.agent(plan);
        world.pass(Duration::from_secs(10));
        world.network().partition("web-1", AGGREGATOR);
        world.pass(Duration::from_secs(30));
        let cut = world.now_us();
        world.kill("web-1");
        world.pass(Duration::from_secs(120));
        let unseen = world.journal().missing(&web, cut);
        assert!(unseen.len() >= 12, "only the host knows of {unseen:?}");
        web_1.reboot(world.now());
        world.start("web-1");
        world.network().repair("web-1", AGGREGATOR);
        world.until("it is back", BACK_WITHIN, |picture| {
            agent(picture, "web-1").is_some_and(|agent| agent.boot_id == "web-1-boot-2")
                && condition(picture, "web-1/web") == Some(Condition::Up)
        });
        world.pass(Duration::from_secs(3));
        let journal: Journal = world.journal();
        journal.check_once(&web);
        let unwritten = i64::try_from(UNWRITTEN.as_micros()).unwrap();
        assert_eq!(journal.missing(&web, cut - unwritten), Vec::<usize>::new());
        let answered = web.answered_us();
        for result in journal.of(&web) {
            let late = result.sampled_us - answered[result.number.unwrap() - 1];
            let most = i64::try_from((LATENCY.1 + 2 * TICK).as_micros()).unwrap();
            assert!(
                (0..=most).contains(&late),
                "dated {late} us late: {result:?}"
            );
        }
    });
}
