//! A real PostgreSQL 15: primary or standby, killed under load, frozen, in the middle of crash recovery.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::home::give_to_server;
use crate::wait::wait_until;
use crate::{Daemon, Port, TempHome, free_port, unprivileged};

/// Where Debian keeps the programs of PostgreSQL 15.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// How long it may take until it serves, on a busy machine; without crash recovery it needs 0.3 s.
const READY_MAX: Duration = Duration::from_secs(120);

mod recovery;

/// A PostgreSQL server with its data folder. User `postgres` is let in without a password, from loopback only.
#[derive(Debug)]
pub struct Postgres {
    daemon: Option<Daemon>,
    port: Port,
    home: TempHome,
}

impl Postgres {
    /// Makes a cluster with data checksums and starts it.
    #[must_use]
    pub fn start() -> Self {
        let mut postgres = Self::prepare();
        postgres.launch();
        postgres.wait_ready();
        postgres
    }

    /// Makes a cluster and does not start it: for settings that must be there from the first start.
    ///
    /// # Panics
    /// `initdb` fails.
    #[must_use]
    pub fn prepare() -> Self {
        let postgres = Self {
            daemon: None,
            port: free_port(),
            home: TempHome::new("postgres"),
        };
        let mut initdb = postgres.program("initdb");
        initdb.arg("-D").arg(postgres.data()).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-k",
            "--no-sync",
        ]);
        run(initdb);
        postgres.base_settings();
        postgres
    }

    /// A streaming standby of this one, running and connected.
    ///
    /// # Panics
    /// It cannot be made, or never connects.
    #[must_use]
    pub fn standby(&self) -> Self {
        let mut standby = Self {
            daemon: None,
            port: free_port(),
            home: TempHome::new("standby"),
        };
        let mut backup = standby.program("pg_basebackup");
        backup
            .arg("-D")
            .arg(standby.data())
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "postgres",
            ])
            .args(["-R", "--no-sync", "-c", "fast"]);
        run(backup);
        standby.base_settings();
        standby.launch();
        standby.wait_ready();
        wait_until("the standby streams", READY_MAX, || {
            standby.try_sql("select count(*) from pg_stat_wal_receiver where status = 'streaming'")
                == Ok("1".to_owned())
        });
        standby
    }

    fn base_settings(&self) {
        // Later lines win, so a standby's port replaces that of its primary.
        for line in [
            &format!("port = {}", self.port),
            "listen_addresses = '127.0.0.1'",
            "unix_socket_directories = ''",
            "max_wal_size = '8GB'",
            "checkpoint_timeout = '1h'",
            "log_startup_progress_interval = '100ms'",
            "fsync = off",
        ] {
            self.set(line);
        }
    }

    /// Appends a line to `postgresql.conf`; counts from the next start or [`Postgres::reload`].
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn set(&self, line: &str) {
        let path = self.data().join("postgresql.conf");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, format!("{text}\n{line}\n"))
            .expect("a test can write its own folder");
    }

    /// Replaces `pg_hba.conf`; counts from the next start or [`Postgres::reload`].
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn set_access(&self, lines: &str) {
        std::fs::write(self.data().join("pg_hba.conf"), format!("{lines}\n"))
            .expect("a test can write its own folder");
    }

    /// Has it read its files again (SIGHUP).
    pub fn reload(&self) {
        if let Some(daemon) = &self.daemon {
            daemon.signal(Signal::HUP);
        }
    }

    /// Starts it and waits for nothing.
    pub fn launch(&mut self) {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data());
        self.daemon = Some(Daemon::spawn("postgres", &mut command, &self.log_path()));
    }

    /// Waits until it answers a question.
    ///
    /// # Panics
    /// It never does.
    pub fn wait_ready(&mut self) {
        let (home, port) = (self.home.server_folder("home"), self.port.number());
        if let Some(daemon) = &mut self.daemon {
            daemon.wait_ready(READY_MAX, || {
                psql(&home, port, "postgres", "select 1").is_ok()
            });
        }
    }

    /// `kill -9` of the server and all of its children, and waits until they are gone.
    pub fn kill(&mut self) {
        let children = self.children();
        if let Some(mut daemon) = self.daemon.take() {
            // Its children are in groups of their own.
            daemon.freeze();
            for (pid, _) in &children {
                signal(*pid, Signal::KILL);
            }
            daemon.kill();
        }
        wait_until("the children of postgres are gone", READY_MAX, || {
            children
                .iter()
                .all(|(pid, _)| command_line(*pid).is_empty())
        });
    }

    /// An orderly end, without waiting for clients (SIGINT: `pg_ctl stop -m fast`).
    pub fn shut_down(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.signal(Signal::INT);
            daemon.wait_exit(READY_MAX);
        }
    }

    /// An orderly end and a start.
    pub fn restart(&mut self) {
        self.shut_down();
        self.launch();
        self.wait_ready();
    }

    /// `SIGSTOP` of the postmaster: the kernel still accepts connections for it, nobody answers.
    pub fn freeze(&self) {
        if let Some(daemon) = &self.daemon {
            daemon.signal(Signal::STOP);
        }
    }

    /// `SIGCONT`.
    pub fn thaw(&self) {
        if let Some(daemon) = &self.daemon {
            daemon.signal(Signal::CONT);
        }
    }

    /// Writes about that many megabytes of WAL that no checkpoint covers: a crash recovery has to redo it.
    pub fn write_wal(&self, megabytes: u32) {
        self.sql("create table if not exists ballast (id bigint, filler text)");
        self.sql("checkpoint");
        for _ in 0..megabytes.div_ceil(10) {
            self.sql(
                "insert into ballast select n, repeat('x', 1000) from generate_series(1, 9000) n",
            );
        }
    }

    /// A client that writes and commits until it is dropped, some megabytes a second.
    pub fn write_load(&self) -> Daemon {
        self.sql("create table if not exists load (id bigint, filler text)");
        let mut command = psql_command(&self.home.server_folder("home"), self.port(), "postgres");
        command.args([
            "-c",
            "do $$ begin loop
               insert into load select n, repeat('x', 1000) from generate_series(1, 100) n;
               commit;
               perform pg_sleep(0.02);
             end loop; end $$",
        ]);
        let load = Daemon::spawn("psql", &mut command, &self.home.join("load.log"));
        wait_until("the load is under way", READY_MAX, || {
            self.sql("select count(*) > 0 from load") == "t"
        });
        load
    }

    /// Uses up the disk of its WAL: the next segment is a device that is always full. The server panics and, with
    /// `restart_after_crash = off`, ends.
    ///
    /// # Panics
    /// It goes on living.
    pub fn fill_disk_of_wal(&mut self) {
        let name =
            self.sql("select pg_walfile_name(pg_current_wal_insert_lsn() + 16 * 1024 * 1024)");
        let path = self.data().join("pg_wal").join(name);
        // It may have been made ahead of time.
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink("/dev/full", &path).expect("a test can write its own folder");
        let _ = self.try_sql("select pg_switch_wal()");
        let _ = self.try_sql(
            "create table too_much as select repeat('x', 1000) from generate_series(1, 40000)",
        );
        if let Some(mut daemon) = self.daemon.take() {
            daemon.wait_exit(READY_MAX);
        }
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port.number()
    }

    /// The process, while it runs.
    pub fn daemon(&mut self) -> Option<&mut Daemon> {
        self.daemon.as_mut()
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.home.server_folder("server").join("data")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Runs a statement as the superuser; the columns of its answer are divided by `|`.
    ///
    /// # Panics
    /// It fails.
    #[track_caller]
    pub fn sql(&self, statement: &str) -> String {
        match self.try_sql(statement) {
            Ok(answer) => answer,
            Err(error) => panic!("{statement}: {error}"),
        }
    }

    /// The same, for a statement that may fail.
    ///
    /// # Errors
    /// What `psql` said.
    pub fn try_sql(&self, statement: &str) -> Result<String, String> {
        psql(
            &self.home.server_folder("home"),
            self.port(),
            "postgres",
            statement,
        )
    }

    /// Adds running `psql`s to `held` until they hold `total` connections; they end when dropped.
    ///
    /// Whoever is refused because a probe has the place for the moment tries again.
    ///
    /// # Panics
    /// They do not all get in.
    pub fn hold_connections(&self, user: &str, total: usize, held: &mut Vec<Daemon>) {
        held.resize_with(total, || self.hold_connection(user));
        wait_until("every connection is held", READY_MAX, || {
            for psql in held.iter_mut() {
                if !psql.is_running() {
                    *psql = self.hold_connection(user);
                }
            }
            self.sleepers() == total
        });
    }

    fn hold_connection(&self, user: &str) -> Daemon {
        let mut command = psql_command(&self.home.server_folder("home"), self.port(), user);
        command.args(["-c", "select pg_sleep(600)"]);
        Daemon::spawn("psql", &mut command, &self.home.join("psql.log"))
    }

    /// How many sessions run a statement for long, by the titles of their processes.
    fn sleepers(&self) -> usize {
        let children = self.children();
        let titles = children.iter().map(|(_, title)| title);
        titles.filter(|title| title.contains(" SELECT")).count()
    }

    /// The children of the postmaster: pid and title.
    fn children(&self) -> Vec<(u32, String)> {
        let Some(daemon) = &self.daemon else {
            return Vec::new();
        };
        let parent = daemon.pid();
        let path = format!("/proc/{parent}/task/{parent}/children");
        let pids = std::fs::read_to_string(path).unwrap_or_default();
        let pids = pids.split_whitespace().filter_map(|pid| pid.parse().ok());
        pids.map(|pid| (pid, command_line(pid))).collect()
    }

    fn program(&self, name: &str) -> Command {
        unprivileged(
            Path::new(PROGRAMS).join(name),
            &self.home.server_folder("home"),
        )
    }

    /// The file that it logs to.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn log_path(&self) -> PathBuf {
        let path = self.home.server_folder("log").join("postgres.log");
        if !path.exists() {
            std::fs::write(&path, "").expect("a test can write its own folder");
            give_to_server(&path);
        }
        path
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.daemon.is_some() && !std::thread::panicking() {
            self.kill();
        }
    }
}

/// Sends a signal to a process that a fixture has named.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

fn psql_command(home: &Path, port: u16, user: &str) -> Command {
    let mut command = unprivileged(Path::new(PROGRAMS).join("psql"), home);
    command.env("PGCONNECT_TIMEOUT", "5").args([
        "-X",
        "-A",
        "-t",
        "-q",
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-U",
        user,
        "-d",
        "postgres",
    ]);
    command
}

fn psql(home: &Path, port: u16, user: &str, statement: &str) -> Result<String, String> {
    let output = psql_command(home, port, user)
        .args(["-c", statement])
        .output()
        .expect("psql runs");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

fn run(mut command: Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
