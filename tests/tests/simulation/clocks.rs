//! Clocks that are wrong by hours, on either side.

use std::time::Duration;

use blackstart_agent::observation::Status;
use blackstart_proto::v1::Condition;

use crate::agent::Plan;
use crate::probe::Script;
use crate::world::{
    AGGREGATOR, BACK_WITHIN, LATENCY, SEEN_WITHIN, TICK, World, agent, condition, for_seeds,
    is_connected,
};

const HOUR_US: i64 = 3_600_000_000;

/// How much later than it was a sample may be dated: the slowest way of a packet.
fn late_most() -> i64 {
    i64::try_from((LATENCY.1 + 2 * TICK).as_micros()).unwrap()
}

#[test]
fn agents_whose_clocks_are_wrong_by_hours_are_dated_right_and_told_apart() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let wrong = [
            ("right", 0),
            ("ahead", 5 * HOUR_US),
            ("behind", -7 * HOUR_US),
            // Without a battery: the clock began at the epoch.
            ("old", -1_700_000_000_000_000 + 60_000_000),
            ("jumps", 2 * HOUR_US),
        ];
        let scripts: Vec<_> = wrong
            .iter()
            .map(|(host, _)| Script::new(&format!("{host}/web")))
            .collect();
        world.aggregator();
        let agents: Vec<_> = wrong
            .iter()
            .zip(&scripts)
            .map(|((host, ahead), script)| {
                let mut plan = Plan::new(host, &[script]);
                plan.wall_ahead_us = *ahead;
                world.agent(plan)
            })
            .collect();
        world.until("all are up", Duration::from_secs(5), |picture| {
            scripts
                .iter()
                .all(|script| condition(picture, &script.component) == Some(Condition::Up))
        });
        for (host, ahead) in wrong {
            let picture = world.picture();
            let shown = agent(&picture, host).unwrap().clock_offset_ms;
            let off = ahead / 1_000 - shown;
            // What is shown contains the way of one packet.
            assert!(
                (0..=late_most() / 1_000).contains(&off),
                "{host}: {shown} for {ahead}"
            );
        }
        let jumps = &agents[4];
        for ahead in [-3 * HOUR_US, 9 * HOUR_US, 0] {
            world.pass(Duration::from_secs(5));
            jumps.set_wall_ahead(ahead);
        }
        // A jump while the agent is cut off, too.
        world.network().partition("jumps", AGGREGATOR);
        world.pass(Duration::from_secs(10));
        jumps.set_wall_ahead(-HOUR_US);
        world.pass(Duration::from_secs(10));
        world.network().repair("jumps", AGGREGATOR);
        world.until("it is back", BACK_WITHIN, |picture| {
            agent(picture, "jumps").is_some_and(|agent| agent.connected)
                && condition(picture, "jumps/web") == Some(Condition::Up)
        });
        let until = world.now_us();
        world.stop(&agents.iter().collect::<Vec<_>>());
        let journal = world.last_journal();
        journal.check_no_hole();
        for script in &scripts {
            journal.check_once(script);
            assert_eq!(journal.missing(script, until), Vec::<usize>::new());
            let mut before = 0;
            for result in journal.of(script) {
                let late = result.sampled_us - script.answered_us()[result.number.unwrap() - 1];
                assert!(
                    (0..=late_most()).contains(&late),
                    "dated {late} us late: {result:?}"
                );
                assert!(result.sampled_us > before, "out of order: {result:?}");
                before = result.sampled_us;
            }
        }
    });
}

/// Whatever the agent's clock says, an answer holds for its time to live, counted from when it was given.
#[test]
fn answers_expire_in_time_though_the_agents_clock_is_wrong() {
    for_seeds(|seed| {
        for ahead in [6 * HOUR_US, -6 * HOUR_US] {
            let mut world = World::new(seed);
            let web = Script::new("web-1/web");
            // No agent is lost here: what ends an answer is its age.
            world.aggregator_with(|config| config.lost_after = Duration::from_secs(3_600));
            let mut plan = Plan::new("web-1", &[&web]);
            plan.wall_ahead_us = ahead;
            let web_1 = world.agent(plan);
            world.until("it is up", Duration::from_secs(5), |picture| {
                condition(picture, "web-1/web") == Some(Condition::Up)
            });
            world.pass(Duration::from_secs(6));
            web_1.set_wall_ahead(-ahead);
            world.pass(Duration::from_secs(6));
            world.network().hold("web-1", AGGREGATOR);
            let held = world.now_us();
            world.until("it is unknown", Duration::from_secs(10), |picture| {
                condition(picture, "web-1/web") == Some(Condition::Unknown)
            });
            let journal = world.journal();
            let last = journal.of(&web).last().unwrap();
            assert!(last.sampled_us <= held);
            // Every second, and four of these and a second's timeout it holds.
            let age = world.now_us() - last.sampled_us;
            let seen_within = i64::try_from(SEEN_WITHIN.as_micros()).unwrap();
            assert!(
                (5_000_000..=5_000_000 + seen_within).contains(&age),
                "{age} us"
            );
        }
    });
}

/// A healed host delivers an old failure after the view has forgotten it: history, and no news.
#[test]
fn what_arrives_late_never_overrides_what_is_newer() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let web = Script::new("web-1/web");
        world.aggregator();
        let mut plan = Plan::new("web-1", &[&web]);
        plan.wall_ahead_us = 4 * HOUR_US;
        let web_1 = world.agent(plan);
        world.until("it is up", Duration::from_secs(5), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        world.network().hold("web-1", AGGREGATOR);
        world.pass(Duration::from_secs(5));
        web.say(Status::Failed);
        world.pass(Duration::from_secs(20));
        web.say(Status::Ok);
        world.pass(Duration::from_secs(20));
        world.network().release("web-1", AGGREGATOR);
        // From the first packet on, until long after everything is there.
        let mut was_up = false;
        world.pass_while("never down", BACK_WITHIN, |picture| {
            let now = condition(picture, "web-1/web");
            was_up |= now == Some(Condition::Up) && is_connected(picture, "web-1");
            now != Some(Condition::Down)
        });
        assert!(was_up);
        let until = world.now_us();
        world.stop(&[&web_1]);
        let journal = world.last_journal();
        journal.check_no_hole();
        journal.check_once(&web);
        assert_eq!(journal.missing(&web, until), Vec::<usize>::new());
    });
}

/// The aggregator's own clock goes back by hours: its times do not, and it says so.
#[test]
fn an_aggregator_whose_clock_goes_back_keeps_its_order_and_says_so() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let web = Script::new("web-1/web");
        world.aggregator();
        let web_1 = world.agent(Plan::new("web-1", &[&web]));
        world.until("it is up", Duration::from_secs(5), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        let before = world.picture().at_us;
        world.set_aggregator_ahead(-2 * HOUR_US);
        world.until("it is told", Duration::from_secs(3), |picture| {
            let own = picture.aggregator.as_ref().unwrap();
            own.problems
                .iter()
                .any(|problem| problem.starts_with("the clock of this machine went back by 7200 s"))
        });
        assert!(world.picture().at_us >= before);
        web.say(Status::Failed);
        world.until("sight goes on", Duration::from_secs(3), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Down)
        });
        // A restart reads times from the journal that are ahead of the clock.
        world.kill(AGGREGATOR);
        world.start(AGGREGATOR);
        web.say(Status::Ok);
        world.until("sight goes on", BACK_WITHIN, |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        let until = world.now_us();
        world.stop(&[&web_1]);
        // Reading it checks that no time goes back.
        let journal = world.last_journal();
        journal.check_no_hole();
        journal.check_once(&web);
        assert_eq!(journal.missing(&web, until), Vec::<usize>::new());
    });
}
