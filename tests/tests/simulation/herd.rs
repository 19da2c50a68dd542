//! A thousand agents that come back in the same moment.

use std::time::Duration;

use blackstart_proto::v1::StatusResponse;

use crate::agent::Plan;
use crate::probe::Script;
use crate::world::{AGGREGATOR, BACK_WITHIN, LATENCY, World, for_seeds, for_so_many_seeds};

const SITES: usize = 10;
const AGENTS_PER_SITE: usize = 100;
const AGENTS: usize = SITES * AGENTS_PER_SITE;

/// How often the operator looks.
const LOOK: Duration = Duration::from_secs(1);

/// `admission.sessions_per_second`, as it is unless told otherwise.
const RATE: usize = 200;

/// What admission lets in at once after a calm: a quarter of a second's worth.
const BURST: usize = RATE / 4;

/// When the last one is back: a second's back-off, its turn in the queue, and for each of two attempts the ways of a
/// connection, of HTTP/2 and of hello and answer; a look of the operator.
fn back_within() -> Duration {
    let queue = Duration::from_secs((AGENTS / RATE) as u64);
    Duration::from_secs(1) + queue + 2 * 6 * LATENCY.1 + LOOK
}

fn connected(picture: &StatusResponse) -> usize {
    let agents = picture.agents.iter();
    agents.filter(|agent| agent.connected).count()
}

#[test]
fn a_thousand_agents_that_return_at_once_are_spread_and_all_are_back_in_time() {
    // Each of the thousand draws its own lots.
    for_so_many_seeds(1, |seed| {
        let mut world = World::new(seed);
        world.aggregator_seen(Some(LOOK), |_| {});
        let (mut agents, mut scripts) = (Vec::new(), Vec::new());
        for site in 0..SITES {
            let mut plans = Vec::new();
            for n in 0..AGENTS_PER_SITE {
                let host = format!("host-{site}-{n:02}");
                let script = Script::new(&format!("{host}/web"));
                let mut plan = Plan::new(&host, &[&script]);
                plan.interval = Duration::from_secs(10);
                plans.push(plan);
                scripts.push(script);
            }
            agents.extend(world.site(&format!("site-{site}"), plans));
        }
        world.until("all are there", back_within(), |picture| {
            connected(picture) == AGENTS
        });
        world.pass(Duration::from_secs(3));
        let dialled: Vec<u64> = agents.iter().map(|agent| agent.dialled()).collect();

        // The kernel tells all of them in the same moment, and the new process is there at once.
        world.kill(AGGREGATOR);
        let killed = world.now_us();
        world.start(AGGREGATOR);
        world.until("all are back", back_within(), |picture| {
            picture.agents.len() == AGENTS
                && connected(picture) == AGENTS
                && picture.agents.iter().all(|agent| agent.since_us >= killed)
        });

        // Welcomed at the admitted rate, whatever the span.
        let mut welcomed: Vec<i64> = world
            .picture()
            .agents
            .iter()
            .map(|agent| agent.since_us)
            .collect();
        welcomed.sort_unstable();
        for span in welcomed.windows(RATE + BURST + 1) {
            assert!(
                span[RATE + BURST] - span[0] >= 1_000_000,
                "more than {} in a second",
                RATE + BURST
            );
        }
        // Each came at once, was given its time, and came again then; who met the door still closed knocked once more.
        for (agent, before) in agents.iter().zip(dialled) {
            let again = agent.dialled() - before;
            assert!(
                (1..=3).contains(&again),
                "{} dialled {again} times",
                agent.host()
            );
        }
        let until = world.now_us();
        world.pass(Duration::from_secs(3));
        let journal = world.journal();
        journal.check_no_hole();
        for script in &scripts {
            journal.check_once(script);
            assert_eq!(journal.missing(script, until), Vec::<usize>::new());
        }
        assert_eq!(journal.count_all("agent_lost"), 0);
    });
}

/// Nobody answers for a while, and the agents knock less and less often.
#[test]
fn agents_that_found_nobody_for_long_have_not_hammered_and_are_back_within_their_longest_wait() {
    const HOSTS: usize = 30;
    for_seeds(|seed| {
        let mut world = World::new(seed);
        world.aggregator();
        let scripts: Vec<_> = (0..HOSTS)
            .map(|n| Script::new(&format!("host-{n:02}/web")))
            .collect();
        let plans = scripts.iter().enumerate().map(|(n, script)| {
            let mut plan = Plan::new(&format!("host-{n:02}"), &[script]);
            plan.interval = Duration::from_secs(10);
            plan
        });
        let agents = world.site("site", plans.collect());
        world.until("all are there", back_within(), |picture| {
            connected(picture) == HOSTS
        });
        world.kill(AGGREGATOR);
        let dialled: Vec<u64> = agents.iter().map(|agent| agent.dialled()).collect();
        world.pass(Duration::from_secs(120));
        for (agent, before) in agents.iter().zip(dialled) {
            let knocks = agent.dialled() - before;
            // Waits of at most 1, 2, 4, 8, 16, 20, 20 … seconds, and of half of that on average.
            assert!(
                (6..=40).contains(&knocks),
                "{} knocked {knocks} times",
                agent.host()
            );
        }
        let knocks: u64 = agents.iter().map(|agent| agent.dialled()).sum();
        assert!(knocks < 20 * HOSTS as u64, "{knocks} knocks in two minutes");
        world.start(AGGREGATOR);
        world.until("all are back", BACK_WITHIN, |picture| {
            connected(picture) == HOSTS
        });
        let until = world.now_us();
        world.pass(Duration::from_secs(3));
        let journal = world.journal();
        journal.check_no_hole();
        for script in &scripts {
            journal.check_once(script);
            assert_eq!(journal.missing(script, until), Vec::<usize>::new());
        }
    });
}
