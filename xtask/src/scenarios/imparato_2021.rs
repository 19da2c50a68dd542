//! Imparato, 2021-03-10: a small team's central server burns at night; the news explain it in the morning.
//!
//! Documented (French time, an hour ahead of what is written here): requests stuck since 0:50, found at 6:32, the restart button
//! answers with an error at 7:00, the news at 8:00, a new server and the backlog drained by 11:00, mail back in the evening, on
//! 13 March the word that the server (in SBG1) is gone. Inferred: where jobs are queued, how many, that the web site stands
//! elsewhere, that the mail stands on the same site, the clock of the provider's word, the outside watcher.

use super::life::Life;
use super::sbg_fire;
use super::stage::{Beat, Stage};
use super::story::{degraded, failed, ok, starting, story};
use super::time::{At, Day};

pub(super) const NAME: &str = "imparato-2021";

/// The day before: clocks after midnight have more than 24 hours.
const DAY: Day = sbg_fire::DAY;
const BEGIN: At = DAY.hm(23, 20);
const SERVER_GONE: At = DAY.at(23, 50, 10);
const NEW_SERVER: At = DAY.hm(33, 40);
const DRAINED: At = DAY.hm(34, 0);
const MAIL_RETURNS: At = DAY.hm(43, 0);

const WATCHERS: [&str; 2] = ["web-1", "watch-1"];

pub(super) fn events() -> String {
    let mut stage = Stage::new(NAME);
    sbg_fire::provider(&mut stage);
    stage.action(
        DAY.hm(30, 0),
        "restart of central-1 at the provider: an error occurred during the request",
    );
    stage.action(DAY.hm(33, 0), "a new server is being set up");
    stage.gone(DAY.hm(79, 0), "central-1");
    stage.beat(
        Beat::default()
            .every(120, BEGIN, DAY.hm(23, 48))
            .every(20, DAY.hm(23, 48), DAY.hm(23, 56))
            .every(300, DAY.hm(23, 56), DAY.hm(26, 0))
            .every(600, DAY.hm(26, 0), DAY.hm(33, 30))
            .every(60, DAY.hm(33, 30), DAY.hm(34, 10))
            .every(900, DAY.hm(34, 10), DAY.hm(43, 20))
            .every(3_600, DAY.hm(44, 0), DAY.hm(80, 30)),
    );
    for host in ["web-1", "watch-1", "agg-1"] {
        stage.host(host, Life::long(BEGIN, 80), story(ok()));
    }
    let central = Life::long(BEGIN, 310).loses_power(SERVER_GONE);
    stage.host("central-1", central, story(ok()));
    stage.watch("central-1", "vocaliser-1", "systemd.unit", story(ok()));
    stage.host(
        "central-2",
        Life::late(NEW_SERVER.plus(-300), 240),
        story(ok()),
    );
    let second = story(starting("being deployed")).then(NEW_SERVER, ok());
    stage.watch("central-2", "vocaliser-2", "systemd.unit", second);

    let no_answer = || story(ok()).then(SERVER_GONE, failed("timed out"));
    let nobody = failed("no worker takes a job");
    let vocalisation = story(ok())
        .then(SERVER_GONE.plus(30), nobody)
        .then(NEW_SERVER, ok());
    let waits = degraded("jobs wait and none is taken").ramp("depth", 2.0, NEW_SERVER, 412.0);
    let drains = degraded("jobs are being taken").ramp("depth", 412.0, DRAINED, 0.0);
    let jobs = story(ok().value("depth", 1.0))
        .then(SERVER_GONE.plus(60), waits)
        .then(NEW_SERVER, drains)
        .then(DRAINED, ok().value("depth", 0.0));
    stage.watch("web-1", "jobs", "queue.depth", jobs);
    stage.watch("web-1", "vocalisation", "service.ready", vocalisation);
    stage.watch_from(&WATCHERS, "central-1", "tcp.connect", &no_answer());
    let mail = no_answer().then(MAIL_RETURNS, ok());
    stage.watch_from(&WATCHERS, "mail", "smtp.ready", &mail);
    stage.watch_from(&WATCHERS, "site", "http.get", &story(ok()));
    stage.events()
}
