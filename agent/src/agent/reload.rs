//! Another configuration for an agent that runs.
//!
//! **Invariant:** a file with a problem changes nothing. The one before it stays in force, and every problem is shown.

use blackstart_config::Report;
use blackstart_proto::transport::{ClientTls, Dial};
use tracing::{info, warn};

use super::Agent;
use crate::board::Subject;
use crate::config::{AgentConfig, ConfigSource};

impl<D: Dial, F: Fn(bool) -> D> Agent<F> {
    /// Reads the configuration again, and goes on with it if it is good. Probes are changed by the look that follows.
    pub(super) async fn reload(&mut self) {
        let outcome = read_again(&self.source, &self.config);
        let (new, for_a_restart) = match outcome {
            Ok(read) => read,
            Err(report) => {
                warn!("{report}");
                let problem = refused(&report);
                return self
                    .board
                    .set_problem(Subject::Configuration, Some(problem));
            }
        };
        let is_other_tls = new.tls != self.config.tls;
        if is_other_tls {
            match new.tls.as_ref().map(ClientTls::load).transpose() {
                Ok(tls) => self.tls = tls,
                Err(error) => {
                    let problem = format!(
                        "the configuration is refused, the one before stays in force: {error}"
                    );
                    return self
                        .board
                        .set_problem(Subject::Configuration, Some(problem));
                }
            }
        } else if let Some(tls) = &self.tls {
            tls.reload();
        }
        self.board.set_problem(Subject::Configuration, None);
        self.board.set_problem(Subject::Restart, for_a_restart);
        self.spool.set_limits(new.spool);
        self.config = new;
        if is_other_tls {
            self.uplinks.end_all().await;
        }
        self.connect().await;
        info!(
            probes = self.config.probes.len(),
            aggregators = self.config.aggregators.len(),
            "configuration read again"
        );
    }
}

/// The configuration as it stands now for the agent that runs, and what of it has to wait for a restart.
fn read_again(
    source: &ConfigSource,
    running: &AgentConfig,
) -> Result<(AgentConfig, Option<String>), Report> {
    let mut new = source.load()?;
    let mut waiting = Vec::new();
    if new.host != running.host {
        waiting.push(format!("host {:?} instead of {:?}", new.host, running.host));
        // Ids begin with the host's: they are made for the one that runs.
        let source = ConfigSource {
            host: Some(running.host.clone()),
            ..source.clone()
        };
        new = source.load()?;
    }
    if new.state_dir != running.state_dir {
        waiting.push(format!(
            "state_dir {} instead of {}",
            new.state_dir.display(),
            running.state_dir.display()
        ));
        new.state_dir.clone_from(&running.state_dir);
    }
    let told = (!waiting.is_empty())
        .then(|| format!("waits for a restart of the agent: {}", waiting.join(", ")));
    Ok((new, told))
}

/// All problems of a file in one line.
fn refused(report: &Report) -> String {
    let problems: Vec<String> = report
        .problems
        .iter()
        .map(|problem| {
            let place = if problem.line == 0 {
                String::new()
            } else {
                format!("line {} ", problem.line)
            };
            let words = [&problem.found, &problem.expected]
                .into_iter()
                .filter(|words| !words.is_empty())
                .cloned()
                .collect::<Vec<_>>();
            format!("{place}{}", words.join(" "))
        })
        .collect();
    format!(
        "{} is refused, the configuration before it stays in force: {}",
        report.file,
        problems.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_state_folder_stay_until_a_restart_and_the_rest_counts() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, "host = \"a\"\nstate_dir = \"one\"\n").unwrap();
        let source = ConfigSource {
            file: Some(file.clone()),
            ..ConfigSource::default()
        };
        let running = source.load().unwrap();
        assert!(read_again(&source, &running).unwrap().1.is_none());
        let text = "host = \"b\"\nstate_dir = \"two\"\n[probe.\"a/x\"]\nkind = \"host.load\"\n";
        std::fs::write(&file, text).unwrap();
        let (new, told) = read_again(&source, &running).unwrap();
        assert_eq!(
            (&new.host, &new.state_dir),
            (&running.host, &running.state_dir)
        );
        assert!(new.probes[0].in_host, "made for the host that runs");
        let told = told.unwrap();
        assert!(
            told.contains("host \"b\" instead of \"a\", state_dir "),
            "{told}"
        );
    }

    #[test]
    fn every_problem_is_told() {
        let report = AgentConfig::parse(
            std::path::Path::new("agent.toml"),
            "host = 1\n[spool]\nbytes = 2\n",
        )
        .unwrap_err();
        let told = refused(&report);
        assert!(
            told.starts_with(
                "agent.toml is refused, the configuration before it stays in force: line 1 host = 1"
            ),
            "{told}"
        );
        assert!(told.contains("; line 3 "), "{told}");
    }
}
