//! Paths that are lost in one direction, and streams that are dead on one side only.

use std::time::Duration;

use blackstart_agent::observation::Status;
use blackstart_proto::limits::SILENCE_MAX;
use blackstart_proto::v1::Condition;

use crate::agent::Plan;
use crate::probe::Script;
use crate::world::{
    AGGREGATOR, BACK_WITHIN, LOST_AFTER, SEEN_WITHIN, World, condition, for_seeds, is_connected,
};

#[test]
fn an_agent_that_is_not_heard_is_lost_in_time_and_all_it_saw_arrives_afterwards() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let web = Script::new("web-1/web");
        world.aggregator();
        let agent = world.agent(Plan::new("web-1", &[&web]));
        world.until("it is up", Duration::from_secs(5), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        world.pass(Duration::from_secs(10));
        world.network().partition_oneway("web-1", AGGREGATOR);
        world.until(
            "the stream is given up",
            SILENCE_MAX + SEEN_WITHIN,
            |picture| !is_connected(picture, "web-1"),
        );
        world.pass(LOST_AFTER + SEEN_WITHIN);
        assert_eq!(world.journal().count("agent_lost", "web-1"), 1);
        world.pass(Duration::from_secs(20));
        world.network().repair_oneway("web-1", AGGREGATOR);
        world.until("it is back", BACK_WITHIN, |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        let until = world.now_us();
        world.stop(&[&agent]);
        let journal = world.last_journal();
        journal.check_no_hole();
        journal.check_once(&web);
        assert_eq!(journal.missing(&web, until), Vec::<usize>::new());
    });
}

#[test]
fn an_agent_that_hears_no_acknowledgement_is_seen_and_what_it_sends_again_counts_once() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let web = Script::new("web-1/web");
        world.aggregator();
        let agent = world.agent(Plan::new("web-1", &[&web]));
        world.until("it is up", Duration::from_secs(5), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        world.pass(Duration::from_secs(10));
        world.network().partition_oneway(AGGREGATOR, "web-1");
        let deaf = world.now_us();
        web.say(Status::Failed);
        world.until("sight goes on", Duration::from_secs(3), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Down)
        });
        world.until(
            "the agent gives the stream up",
            SILENCE_MAX + SEEN_WITHIN,
            |picture| !is_connected(picture, "web-1"),
        );
        let heard = world.journal();
        let unacknowledged = heard.of(&web).filter(|result| result.sampled_us > deaf);
        assert!(unacknowledged.count() > 5, "the aggregator has heard it");
        world.pass(Duration::from_secs(20));
        web.say(Status::Ok);
        world.network().repair_oneway(AGGREGATOR, "web-1");
        world.until("it is back", BACK_WITHIN, |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        let until = world.now_us();
        world.stop(&[&agent]);
        let journal = world.last_journal();
        journal.check_no_hole();
        journal.check_once(&web);
        assert_eq!(journal.missing(&web, until), Vec::<usize>::new());
    });
}

/// A router forgets the stream: the agent knows at once and comes back, the aggregator believes in the old one.
#[test]
fn the_newer_of_two_streams_of_an_agent_wins_and_nothing_counts_twice() {
    for_seeds(|seed| {
        // Packets overtake each other by far, so that the old stream still delivers while the new one does.
        let mut world = World::with(seed, |network| {
            network.max_message_latency(Duration::from_millis(800));
        });
        let scripts: Vec<_> = (0..5)
            .map(|n| Script::new(&format!("web-1/web-{n}")))
            .collect();
        world.aggregator();
        let mut plan = Plan::new("web-1", &scripts.iter().collect::<Vec<_>>());
        plan.interval = Duration::from_millis(200);
        let agent = world.agent(plan);
        world.until("it is connected", Duration::from_secs(5), |picture| {
            is_connected(picture, "web-1")
        });
        for round in 0..10 {
            // Shorter than it takes to find silence: the old stream always stands.
            world.pass_while(
                "connected",
                Duration::from_millis(2_000 + 613 * ((seed + round) % 7)),
                |picture| is_connected(picture, "web-1"),
            );
            agent.break_stream();
        }
        world.pass(Duration::from_secs(5));
        let until = world.now_us();
        world.stop(&[&agent]);
        let journal = world.last_journal();
        journal.check_no_hole();
        for script in &scripts {
            journal.check_once(script);
            assert_eq!(journal.missing(script, until), Vec::<usize>::new());
        }
        assert_eq!(journal.count("agent_lost", "web-1"), 0);
        assert_eq!(journal.count("agent_connected", "web-1"), 1);
    });
}
