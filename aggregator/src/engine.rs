//! The owner of the engine: applies entries in order on one thread, publishes views.
//!
//! Whoever wants something of the engine sends a command; nobody else touches it. What changed is
//! published as a [`View`]: at once when nothing was published lately, together with what follows when much happens. Measured
//! values change with nearly every result and nobody may be looking; they enter the view when
//! somebody asks ([`EngineHandle::fresh`]).

pub(crate) mod answers;
pub(crate) mod owner;

use std::sync::Arc;
use std::time::Duration;

use blackstart_graph::Topology;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use self::answers::{TopologyAnswer, WhyAnswer};
use self::owner::Owner;
use crate::capture::live::{Begun, Taps, Told};
use crate::clock::Clock;
use crate::ingest::Closed;
use crate::journal::Entry;
use crate::problems::{Problems, Subject};
use crate::view::View;

/// The most commands that are taken between two looks at the clock: some milliseconds of work.
const TAKEN_MAX: usize = 128;

/// Views are published at least this far apart, so that a burst becomes one.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(1);

/// Publishing may take this share of the thread, as one to so many: a large graph that changes
/// all the time is published less often.
const PUBLISH_SHARE: u32 = 4;

/// How far apart views are published where time is simulated. Publishing takes none of that time, so that no share can
/// bound it; this keeps a thousand simulated agents from costing a thousand views of all.
const PUBLISH_SIMULATED: Duration = Duration::from_millis(20);

/// The shortest sleep until a deadline, so that one the engine cannot meet does not spin.
const DEADLINE_MIN: Duration = Duration::from_millis(1);

/// Commands that come closer together than this are a stream of them.
const STREAM_GAP: Duration = Duration::from_millis(2);

/// While there is a stream of commands, the thread rests this long between two looks: to wake it
/// for each would cost more than to do what it says. What is rare is not delayed.
const STREAM_REST: Duration = Duration::from_millis(1);

/// What the engine is told.
pub(crate) enum EngineCommand {
    /// Apply this.
    Apply(Entry),
    /// Put another topology in force; its text is for those who record.
    Topology {
        topology: Topology,
        text: Arc<str>,
        at_us: i64,
    },
    /// Say the state as events, and hand over what follows; none when too many record already.
    Record(oneshot::Sender<Option<Begun>>),
    /// Say why a component has its condition.
    Why(String, oneshot::Sender<Option<WhyAnswer>>),
    /// Say what the topology is.
    ShowTopology(oneshot::Sender<TopologyAnswer>),
    /// Bring the view up to date, values too.
    Fresh(oneshot::Sender<Arc<View>>),
    /// The state, and the last entry in it.
    Save(oneshot::Sender<(u64, Vec<u8>)>),
}

/// The way to the engine.
#[derive(Debug, Clone)]
pub(crate) struct EngineHandle {
    commands: mpsc::UnboundedSender<EngineCommand>,
    view: watch::Receiver<Arc<View>>,
}

impl EngineHandle {
    /// Sends a command. The queue is bounded by the room that [`crate::ingest`] gives, and by
    /// one question at a time of each reader.
    pub(crate) fn send(&self, command: EngineCommand) -> Result<(), Closed> {
        self.commands.send(command).map_err(|_| Closed)
    }

    /// The view of now, its values as of the last time that somebody asked.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Tells when the view changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// The view of now with its values.
    pub(crate) async fn fresh(&self) -> Option<Arc<View>> {
        self.ask(EngineCommand::Fresh).await
    }

    /// Why a component has its condition; `None` when there is no such component.
    pub(crate) async fn why(&self, component: String) -> Option<Option<WhyAnswer>> {
        self.ask(|answer| EngineCommand::Why(component, answer))
            .await
    }

    /// The topology in force.
    pub(crate) async fn topology(&self) -> Option<TopologyAnswer> {
        self.ask(EngineCommand::ShowTopology).await
    }

    /// The state as events, and what follows; the inner `None` when too many record already.
    pub(crate) async fn record(&self) -> Option<Option<Begun>> {
        self.ask(EngineCommand::Record).await
    }

    /// The state as bytes, and the last entry in it.
    pub(crate) async fn save(&self) -> Option<(u64, Vec<u8>)> {
        self.ask(EngineCommand::Save).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> EngineCommand) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.send(command(answer)).ok()?;
        answered.await.ok()
    }
}

/// The loop around the owner.
pub(crate) struct EngineLoop {
    owner: Owner,
    clock: Arc<Clock>,
    problems: Arc<Problems>,
    room: Arc<Semaphore>,
    commands: mpsc::UnboundedReceiver<EngineCommand>,
    view: watch::Sender<Arc<View>>,
    /// Not before this, the next view is published.
    publish_after: Instant,
    /// It has the thread for itself and may let it sleep.
    has_thread: bool,
    /// The text of the topology in force.
    topology: Arc<str>,
    taps: Taps,
}

impl EngineLoop {
    /// A loop around `owner`, and the way to it.
    pub(crate) fn new(
        mut owner: Owner,
        clock: Arc<Clock>,
        problems: Arc<Problems>,
        room: Arc<Semaphore>,
        topology: &str,
        has_thread: bool,
    ) -> (Self, EngineHandle) {
        let (sender, commands) = mpsc::unbounded_channel();
        owner.advance(clock.now().wall_us);
        let view = watch::Sender::new(owner.view(true));
        let handle = EngineHandle {
            commands: sender,
            view: view.subscribe(),
        };
        let looped = Self {
            owner,
            clock,
            problems,
            room,
            commands,
            view,
            publish_after: Instant::now(),
            has_thread,
            topology: topology.into(),
            taps: Taps::default(),
        };
        (looped, handle)
    }

    /// Runs until nobody can send a command any more.
    pub(crate) async fn run(mut self) {
        let mut commands = Vec::with_capacity(TAKEN_MAX);
        let mut looked = Instant::now();
        loop {
            if self.has_thread && looked.elapsed() < STREAM_GAP {
                std::thread::sleep(STREAM_REST);
            }
            let wake = self.wake();
            let taken = tokio::select! {
                biased;
                taken = self.commands.recv_many(&mut commands, TAKEN_MAX) => Some(taken),
                () = sleep_until(wake) => None,
            };
            if taken == Some(0) {
                return;
            }
            let mut applied = 0;
            for command in commands.drain(..) {
                applied += usize::from(self.take(command));
            }
            self.room.add_permits(applied);
            let now = self.clock.now();
            looked = now.instant;
            if self
                .owner
                .next_deadline_us()
                .is_some_and(|at| at <= now.wall_us)
            {
                self.owner.advance(now.wall_us);
            }
            if self.owner.has_changed() && self.publish_after <= now.instant {
                self.publish(false);
            }
        }
    }

    /// When there is something to do even if nothing comes.
    fn wake(&self) -> Option<Instant> {
        let now = self.clock.now();
        let deadline = self.owner.next_deadline_us().map(|at| {
            let at = now.instant_of(at);
            at.max(now.instant + DEADLINE_MIN)
        });
        let publish = self.owner.has_changed().then_some(self.publish_after);
        deadline.into_iter().chain(publish).min()
    }

    /// Does what it is told; true if that took room in the queue.
    fn take(&mut self, command: EngineCommand) -> bool {
        // Whoever asked may have gone; then the answer is for nobody.
        match command {
            EngineCommand::Apply(entry) => {
                let applied = self.owner.apply(entry.index, entry.at_us, &entry.bytes);
                self.taps.tell(&Told::Entry {
                    at_us: entry.at_us,
                    bytes: entry.bytes,
                });
                if let Err(error) = applied {
                    let problem = format!("something reported could not be taken in: {error}");
                    self.problems.happened(Subject::Engine, Some(problem));
                }
                return entry.results > 0;
            }
            EngineCommand::Topology {
                topology,
                text,
                at_us,
            } => {
                self.owner.replace_topology(topology, at_us);
                self.topology = text;
                self.taps.tell(&Told::Topology);
            }
            EngineCommand::Record(answer) => {
                let _ = answer.send(self.record());
            }
            EngineCommand::Why(component, answer) => {
                let _ = answer.send(self.owner.why(&component));
            }
            EngineCommand::ShowTopology(answer) => {
                let _ = answer.send(self.owner.topology());
            }
            EngineCommand::Fresh(answer) => {
                self.owner.advance(self.clock.now().wall_us);
                let _ = answer.send(self.publish(true));
            }
            EngineCommand::Save(answer) => {
                let _ = answer.send(self.owner.save());
            }
        }
        false
    }

    fn record(&mut self) -> Option<Begun> {
        let told = self.taps.open()?;
        self.owner.advance(self.clock.now().wall_us);
        Some(Begun {
            topology: self.topology.clone(),
            at_us: self.owner.newest_us(),
            state: self.owner.as_events(),
            told,
        })
    }

    fn publish(&mut self, with_values: bool) -> Arc<View> {
        let began = Instant::now();
        let changed = self.owner.has_changed();
        let view = self.owner.view(with_values);
        if changed {
            self.view.send_replace(view.clone());
        } else {
            // Values alone wake nobody.
            self.view.send_if_modified(|shown| {
                shown.clone_from(&view);
                false
            });
        }
        self.publish_after = began
            + if self.has_thread {
                PUBLISH_INTERVAL.max(began.elapsed() * PUBLISH_SHARE)
            } else {
                PUBLISH_SIMULATED
            };
        view
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
