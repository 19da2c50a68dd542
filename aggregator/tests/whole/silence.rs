//! A stream whose agent is gone without a word, on simulated time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use blackstart_aggregator::{Config, Surroundings, serve};
use blackstart_proto::transport::Listener;
use blackstart_proto::v1;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use v1::session_response::Kind as Said;

use crate::agent::{Agent, batch, hello, result};

/// A listener whose connections are pipes.
struct Pipes(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Pipes {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> std::io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(stream) => Ok((stream, SocketAddr::from(([127, 0, 0, 1], 1)))),
            None => std::future::pending().await,
        }
    }
}

async fn dial(pipes: mpsc::UnboundedSender<DuplexStream>) -> Channel {
    let connector = tower::service_fn(move |_| {
        let pipes = pipes.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            pipes.send(theirs).map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(ours))
        }
    });
    Endpoint::from_static("http://simulated")
        .connect_with_connector(connector)
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_silent_agent_is_given_up_after_the_longest_silence() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(folder.path().to_owned());
    let began = Instant::now();
    let wall = Arc::new(move || {
        1_800_000_000_000_000 + i64::try_from(began.elapsed().as_micros()).unwrap()
    });
    let (pipes, accepted) = mpsc::unbounded_channel();
    let running = serve(config, Surroundings::simulation(wall), Pipes(accepted))
        .await
        .unwrap();
    let mut agent = Agent::open_on(dial(pipes).await, hello("web-1", 7)).await;
    assert!(matches!(agent.next().await, Some(Said::Welcome(_))));
    let good = result(v1::Status::Ok, "fine");
    agent.send(batch(7, 1, "etcd-1", vec![good])).await;
    agent.acknowledged(7, 1).await;
    let silent = Instant::now();
    // The aggregator says something by itself meanwhile, then it gives up.
    let mut pongs = 0;
    while let Some(answer) = agent.next().await {
        assert!(matches!(answer, Said::Pong(_)), "{answer:?}");
        pongs += 1;
    }
    let elapsed = silent.elapsed();
    assert!(
        (Duration::from_secs(14)..Duration::from_secs(17)).contains(&elapsed),
        "{elapsed:?}"
    );
    assert!(pongs >= 2, "{pongs}");
    assert!(running.shutdown().await);
}
