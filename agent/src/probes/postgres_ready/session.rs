//! One session: log in, one question, log out.

use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::Login;
use super::judge::{Attempt, Earlier, ServerError, Session, Standby};
use crate::net::address::Host;
use crate::net::{Address, connect};
use crate::probe::Deadline;

/// Everything in one question, with functions and views that every version since 11 has and that need no privilege;
/// what a role may not see is null. Failed checksums are counted from 12 on, so the row is asked by name.
const QUESTION: &str = "\
SELECT pg_is_in_recovery() AS in_recovery,
 current_setting('default_transaction_read_only') = 'on' AS read_only,
 current_setting('max_connections')::float8 AS connections_max,
 current_setting('superuser_reserved_connections')::float8 AS connections_reserved,
 (SELECT coalesce(sum(numbackends), 0)::float8 FROM pg_catalog.pg_stat_database) AS connections,
 (SELECT coalesce(sum((to_jsonb(d)->>'checksum_failures')::float8), 0)::float8 FROM pg_catalog.pg_stat_database d) AS checksum_failures,
 (SELECT coalesce(max(age(datfrozenxid)), 0)::float8 FROM pg_catalog.pg_database) AS oldest_transaction_age,
 extract(epoch FROM now() - pg_postmaster_start_time())::float8 AS uptime_s,
 (SELECT count(*)::float8 FROM pg_catalog.pg_stat_wal_receiver) AS receivers,
 CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS replay_paused,
 CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::float8 END AS received,
 CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::float8 END AS replayed,
 CASE WHEN pg_is_in_recovery() THEN extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8 END AS last_replay_s,
 CASE WHEN NOT pg_is_in_recovery() THEN (SELECT count(*)::float8 FROM pg_catalog.pg_stat_replication) END AS standbys";

/// Logs in and asks.
pub(super) async fn open(address: &Address, login: &Login, deadline: Deadline) -> Attempt {
    let begun = std::time::Instant::now();
    let options = match options(address, login) {
        Ok(options) => options,
        Err(error) => return Attempt::Local(error.to_string()),
    };
    let mut connection = match deadline
        .share(0.7)
        .limit("logging in", options.connect())
        .await
    {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return explain(address, error, deadline).await,
        Err(timed_out) => {
            // Is it the server that is silent, or the network?
            return match connect(address, None, deadline).await {
                Ok(_) => Attempt::Silent(timed_out),
                Err(failure) => Attempt::Unreached(failure),
            };
        }
    };
    let login_ms = crate::net::milliseconds(begun.elapsed());
    let answer = deadline
        .limit("waiting for the answer to a question", ask(&mut connection))
        .await;
    // An orderly end, or whatever the rest of the time allows.
    let closing = Deadline::after(
        deadline
            .remaining()
            .max(std::time::Duration::from_millis(50)),
    );
    let _ = closing.limit("logging out", connection.close()).await;
    match answer {
        Ok(Ok(session)) => Attempt::Session(Session {
            login_ms,
            ..session
        }),
        Ok(Err(error)) => explain(address, error, deadline).await,
        Err(timed_out) => Attempt::Silent(timed_out),
    }
}

fn options(
    address: &Address,
    login: &Login,
) -> Result<PgConnectOptions, blackstart_config::SecretError> {
    let host = match &address.host {
        Host::Literal(ip) => ip.to_string(),
        Host::Name(name) => name.clone(),
    };
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&host)
        .port(address.port)
        .username(&login.user)
        .database(&login.database)
        .application_name("blackstart")
        .ssl_mode(login.tls)
        .disable_statement_logging();
    if let Some(password) = &login.password {
        options = options.password(password.read()?.expose_secret());
    }
    if let Some(path) = &login.ca_file {
        options = options.ssl_root_cert(path);
    }
    if let Some((certificate, key)) = &login.certificate {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    Ok(options)
}

async fn ask(connection: &mut PgConnection) -> Result<Session, sqlx::Error> {
    // The simple protocol leaves no prepared statement behind in a pooler between us and the server.
    let row = sqlx::raw_sql(QUESTION).fetch_one(connection).await?;
    let standby = if row.try_get("in_recovery")? {
        Some(Standby {
            receivers: number(&row, "receivers")?.unwrap_or_default(),
            replay_paused: row.try_get("replay_paused")?,
            received: number(&row, "received")?,
            replayed: number(&row, "replayed")?,
            earlier: Earlier::Unknown,
            last_replay_s: number(&row, "last_replay_s")?,
        })
    } else {
        None
    };
    Ok(Session {
        login_ms: 0.0,
        standby,
        read_only: row.try_get("read_only")?,
        connections: number(&row, "connections")?.unwrap_or_default(),
        connections_max: number(&row, "connections_max")?.unwrap_or_default(),
        connections_reserved: number(&row, "connections_reserved")?.unwrap_or_default(),
        checksum_failures: number(&row, "checksum_failures")?.unwrap_or_default(),
        oldest_transaction_age: number(&row, "oldest_transaction_age")?.unwrap_or_default(),
        uptime_s: number(&row, "uptime_s")?.unwrap_or_default(),
        standbys: number(&row, "standbys")?,
    })
}

fn number(row: &PgRow, name: &str) -> Result<Option<f64>, sqlx::Error> {
    row.try_get(name)
}

/// Says what an error means; an error of the connection is looked into with one of our own.
async fn explain(address: &Address, error: sqlx::Error, deadline: Deadline) -> Attempt {
    match error {
        sqlx::Error::Database(error) => {
            let of = error.try_downcast_ref::<PgDatabaseError>();
            Attempt::Refused(ServerError {
                code: error.code().unwrap_or_default().into_owned(),
                message: error.message().to_owned(),
                detail: of
                    .and_then(PgDatabaseError::detail)
                    .unwrap_or_default()
                    .to_owned(),
            })
        }
        sqlx::Error::Io(error) => match connect(address, None, deadline).await {
            Ok(_) => Attempt::Broken(format!("connects, then the connection broke: {error}")),
            Err(failure) => Attempt::Unreached(failure),
        },
        sqlx::Error::Tls(error) => Attempt::Broken(format!("connects, but TLS fails: {error}")),
        error => Attempt::Broken(format!(
            "connects, but its answer is not understood: {error}"
        )),
    }
}
