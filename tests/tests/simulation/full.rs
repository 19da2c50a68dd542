//! Disks that are full: the agent's share of its own, and the aggregator's.
//!
//! A full disk of the aggregator is a small file system of its own, mounted in a mount namespace that the test makes by
//! starting itself again under `unshare`: nobody else sees it, and it ends with the process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use blackstart_agent::config::SpoolLimits;
use blackstart_agent::observation::Status;
use blackstart_proto::v1::{Condition, StatusResponse};
use blackstart_tests::inside_own_mounts;

use crate::agent::Plan;
use crate::probe::Script;
use crate::world::{AGGREGATOR, BACK_WITHIN, World, agent, condition, for_seeds, is_connected};

/// What a spool may hold in these tests: some hundred results.
const SPOOL: SpoolLimits = SpoolLimits {
    bytes_max: 64 << 10,
    ring_results: 10,
};

/// All that lies in a folder.
fn bytes_in(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn an_agent_cut_off_for_long_drops_the_oldest_and_the_operator_sees_how_many() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let scripts: Vec<_> = (0..10)
            .map(|n| Script::new(&format!("web-1/web-{n}")))
            .collect();
        world.aggregator();
        let mut plan = Plan::new("web-1", &scripts.iter().collect::<Vec<_>>());
        plan.interval = Duration::from_millis(500);
        plan.spool = SPOOL;
        let web_1 = world.agent(plan);
        let all_up = |picture: &StatusResponse| {
            scripts
                .iter()
                .all(|script| condition(picture, &script.component) == Some(Condition::Up))
        };
        world.until("all are up", Duration::from_secs(5), all_up);
        world.pass(Duration::from_secs(5));
        world.network().partition("web-1", AGGREGATOR);
        let cut = world.now_us();
        world.pass(Duration::from_secs(150));
        let folder = world.path("web-1");
        let at_half = bytes_in(&folder);
        world.pass(Duration::from_secs(150));
        assert!(
            bytes_in(&folder) <= at_half,
            "{} bytes, and {at_half} before: it grows",
            bytes_in(&folder)
        );
        world.network().repair("web-1", AGGREGATOR);
        let repaired = world.now_us();
        world.until("it is back", BACK_WITHIN, |picture| {
            all_up(picture) && agent(picture, "web-1").unwrap().dropped_total > 0
        });
        let until = world.now_us();
        world.stop(&[&web_1]);
        let shown = agent(&world.picture(), "web-1").unwrap().dropped_total;
        let journal = world.last_journal();
        assert_eq!(shown, journal.holes(), "what is shown is what is missing");
        let mut oldest_kept = i64::MAX;
        for script in &scripts {
            journal.check_once(script);
            let answered = script.answered_us();
            let missing = journal.missing(script, until);
            let (Some(first), Some(last)) = (missing.first(), missing.last()) else {
                panic!("nothing of {} was dropped", script.component)
            };
            assert_eq!(
                last - first + 1,
                missing.len(),
                "the dropped ones are one run"
            );
            // What was on its way when the path was lost may be among them.
            assert!(answered[first - 1] > cut - 2_000_000, "the oldest go first");
            oldest_kept = oldest_kept.min(answered[*last]);
        }
        let kept_s = (repaired - oldest_kept) / 1_000_000;
        assert!((20..200).contains(&kept_s), "the last {kept_s} s were kept");
    });
}

/// A file system of one MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(mounted.success());
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its files may still be open. What stays behind ends with the namespace.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Fills a file system to the last byte.
fn fill(folder: &Path) {
    use std::io::Write;
    let mut ballast = std::fs::File::create(folder.join("ballast")).unwrap();
    while ballast.write_all(&[1; 512]).is_ok() {}
}

#[test]
fn while_the_aggregators_disk_is_full_agents_keep_what_they_see_and_the_view_goes_on() {
    if !inside_own_mounts(
        "full::while_the_aggregators_disk_is_full_agents_keep_what_they_see_and_the_view_goes_on",
    ) {
        return;
    }
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let _disk = SmallDisk::mount(world.aggregator_dir());
        let (web, db) = (Script::new("web-1/web"), Script::new("web-2/db"));
        let is_killed = seed % 2 == 0;
        world.aggregator_with(|config| {
            if !is_killed {
                // A minute of results is more than may wait for the disk.
                config.waiting_bytes_max = 4 << 10;
            }
        });
        let agents = [
            world.agent(Plan::new("web-1", &[&web])),
            world.agent(Plan::new("web-2", &[&db])),
        ];
        world.until("both are up", Duration::from_secs(5), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
                && condition(picture, "web-2/db") == Some(Condition::Up)
        });
        world.pass(Duration::from_secs(5));
        fill(&world.aggregator_dir());
        let full = world.now_us();
        world.until("the problem is told", Duration::from_secs(10), |picture| {
            let own = picture.aggregator.as_ref().unwrap();
            own.problems.iter().any(|problem| {
                problem
                    .starts_with("the journal cannot write; agents keep their results until it can")
                    && problem.contains("full")
            })
        });
        db.say(Status::Failed);
        world.until("sight goes on", Duration::from_secs(10), |picture| {
            condition(picture, "web-2/db") == Some(Condition::Down)
                && condition(picture, "web-1/web") == Some(Condition::Up)
        });
        // What waits for the disk is sent again on the next stream, and must not wait twice.
        for _ in 0..20 {
            world.pass_while("both are connected", Duration::from_secs(3), |picture| {
                is_connected(picture, "web-1") && is_connected(picture, "web-2")
            });
            agents[0].break_stream();
        }
        // The aggregator dies as well: all that it had not written is only with the agents.
        if is_killed {
            world.kill(AGGREGATOR);
        }
        std::fs::remove_file(world.aggregator_dir().join("ballast")).unwrap();
        let unwritten = world.journal().missing(&web, world.now_us());
        assert!(
            unwritten.len() > 15,
            "nothing was acknowledged: {unwritten:?}"
        );
        if is_killed {
            world.start(AGGREGATOR);
        }
        db.say(Status::Ok);
        world.until("all is well again", BACK_WITHIN, |picture| {
            let own = picture.aggregator.as_ref().unwrap();
            own.problems.is_empty()
                && condition(picture, "web-1/web") == Some(Condition::Up)
                && condition(picture, "web-2/db") == Some(Condition::Up)
        });
        world.pass(Duration::from_secs(10));
        let until = world.now_us();
        world.stop(&[&agents[0], &agents[1]]);
        let journal = world.last_journal();
        journal.check_no_hole();
        for script in [&web, &db] {
            journal.check_once(script);
            assert_eq!(journal.missing(script, until), Vec::<usize>::new());
        }
        assert!(journal.of(&web).any(|result| result.sampled_us > full));
        assert_eq!(journal.count_all("agent_lost"), 0);
    });
}
