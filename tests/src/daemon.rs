//! A program under test, or a real server: started, watched, broken and ended by its pid.
//!
//! Each runs in a process group of its own, with its output in a file. The group is killed when
//! the [`Daemon`] is dropped; a guard kills it too when the test process dies without dropping.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::wait_until;

/// The user and group `nobody` of Debian: what servers run as that refuse root.
pub(crate) const NOBODY: u32 = 65_534;

/// How long a killed process may take to be gone: far longer than the kernel needs.
const REAP_MAX: Duration = Duration::from_secs(20);

/// How many lines of its output a failure shows.
const TAIL_LINES: usize = 40;

/// A running program.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
    guard: Guard,
}

/// A command that runs as `nobody` when we are root, and as ourselves otherwise.
pub fn unprivileged(program: impl AsRef<Path>, home: &Path) -> Command {
    let program = program.as_ref();
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("HOME", home).current_dir(home);
    command
}

impl Daemon {
    /// Starts the command with its output appended to the file.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let err = out.try_clone().expect("a file can be opened twice");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{name}: {} cannot be started: {error}", program(command))
            });
        let guard = Guard::new(child.id());
        Self {
            name: name.to_owned(),
            child,
            log: log.to_path_buf(),
            status: None,
            guard,
        }
    }

    /// Its pid, which is also its process group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.exit_status().is_none()
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// When it ended, or is not ready in time; with the end of its output.
    #[track_caller]
    pub fn wait_ready(&mut self, timeout: Duration, mut ready: impl FnMut() -> bool) -> &mut Self {
        let deadline = Instant::now() + timeout;
        while !ready() {
            if let Some(status) = self.exit_status() {
                panic!(
                    "{} ended before it was ready: {status}{}",
                    self.name,
                    self.tail()
                );
            }
            assert!(
                Instant::now() < deadline,
                "{} is not ready after {timeout:?}{}",
                self.name,
                self.tail()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        self
    }

    /// `kill -9` of the program and all of its group, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal_group(Signal::KILL);
        let _ = self.wait_exit(REAP_MAX);
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    ///
    /// # Panics
    /// When it does not end in time; with the end of its output.
    #[track_caller]
    pub fn terminate(&mut self, timeout: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(timeout)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not end in time; with the end of its output.
    #[track_caller]
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exit_status() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} did not end within {timeout:?}{}",
                self.name,
                self.tail()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Freezes the program and all of its group (SIGSTOP).
    pub fn freeze(&self) {
        self.signal_group(Signal::STOP);
    }

    /// Lets a frozen program go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal_group(Signal::CONT);
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        if let (None, Some(pid)) = (self.status, self.raw_pid()) {
            let _ = kill_process(pid, signal);
        }
    }

    /// All of its output.
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until its output contains the text.
    ///
    /// # Panics
    /// When it does not in time.
    #[track_caller]
    pub fn wait_log(&self, text: &str, timeout: Duration) {
        wait_until(
            &format!(
                "{text:?} in the output of {} ({})",
                self.name,
                self.log.display()
            ),
            timeout,
            || self.log().contains(text),
        );
    }

    fn signal_group(&self, signal: Signal) {
        if let Some(pid) = self.raw_pid() {
            let _ = kill_process_group(pid, signal);
        }
    }

    fn raw_pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!(
            "\n--- end of {} ---\n{}",
            self.log.display(),
            tail.join("\n")
        )
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // While the leader is not reaped, its group's number cannot be another's.
        if self.status.is_none() {
            self.signal_group(Signal::KILL);
            let _ = self.child.wait();
        }
        self.guard.dismiss();
    }
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Kills a process group when this process is gone: it waits for the end of a pipe of ours.
#[derive(Debug)]
struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    fn new(group: u32) -> Self {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read -r line || kill -9 -- -\"$1\"", "guard"])
            .arg(group.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("/bin/sh runs");
        let pipe = child.stdin.take();
        Self { child, pipe }
    }

    fn dismiss(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempHome;

    #[test]
    fn a_killed_daemon_takes_its_children_along() {
        let home = TempHome::new("daemon");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 600 & echo child $!; wait"]);
        let mut daemon = Daemon::spawn("sh", &mut command, &home.join("log"));
        daemon.wait_log("child", Duration::from_secs(20));
        let pid: u32 = daemon
            .log()
            .trim()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        daemon.kill();
        assert!(!daemon.is_running());
        wait_until("the child is gone", Duration::from_secs(20), || {
            // A zombie that nobody reaps still has a folder, but no command line.
            std::fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |line| line.is_empty())
        });
    }

    #[test]
    fn a_frozen_daemon_stands_still_until_thawed() {
        let home = TempHome::new("daemon");
        let mut command = Command::new("/bin/sleep");
        command.arg("600");
        let daemon = Daemon::spawn("sleep", &mut command, &home.join("log"));
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
            stat.split(") ").nth(1).and_then(|rest| rest.chars().next())
        };
        daemon.freeze();
        wait_until("stopped", Duration::from_secs(20), || state() == Some('T'));
        daemon.thaw();
        wait_until("asleep", Duration::from_secs(20), || state() == Some('S'));
    }
}
