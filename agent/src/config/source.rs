//! Where a configuration comes from, so that it can be read again: a file, and what the command line says instead.

use std::path::PathBuf;

use blackstart_config::Report;
use blackstart_proto::transport::HostPort;

use super::AgentConfig;

/// A file, and what goes before it.
#[derive(Debug, Clone, Default)]
pub struct ConfigSource {
    /// The file; without one, defaults and discovery.
    pub file: Option<PathBuf>,
    /// The state folder, instead of the file's.
    pub state_dir: Option<PathBuf>,
    /// The component id of this host, instead of the file's.
    pub host: Option<String>,
    /// Aggregators, beside the file's.
    pub aggregators: Vec<HostPort>,
}

impl ConfigSource {
    /// Reads the file.
    ///
    /// # Errors
    /// Every problem of the file at once.
    pub fn load(&self) -> Result<AgentConfig, Report> {
        let host = self.host.as_deref();
        let mut config = match &self.file {
            Some(file) => AgentConfig::load_for(file, host)?,
            None => AgentConfig::defaults_for(host),
        };
        if let Some(state_dir) = &self.state_dir {
            config.state_dir.clone_from(state_dir);
        }
        for address in &self.aggregators {
            if !config.aggregators.contains(address) {
                config.aggregators.push(address.clone());
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_before_the_file_and_adds_aggregators() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("agent.toml");
        let text = "host = \"a\"\naggregators = [\"127.0.0.1:1\"]\n\
            [probe.\"b/db\"]\nkind = \"tcp.connect\"\naddress = \"127.0.0.1:5\"\n";
        std::fs::write(&file, text).unwrap();
        let source = ConfigSource {
            file: Some(file),
            state_dir: Some("/state".into()),
            host: Some("b".to_owned()),
            aggregators: vec![
                "127.0.0.1:1".parse().unwrap(),
                "127.0.0.1:2".parse().unwrap(),
            ],
        };
        let config = source.load().unwrap();
        assert_eq!(config.host, "b");
        assert!(
            config.probes[0].in_host,
            "the host of the command line holds it"
        );
        assert_eq!(config.state_dir, PathBuf::from("/state"));
        let addresses: Vec<String> = config.aggregators.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1:1", "127.0.0.1:2"]);
    }
}
