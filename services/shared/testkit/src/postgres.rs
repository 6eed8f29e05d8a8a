//! A real PostgreSQL.

use crate::{Program, free_port, tools::workspace};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use std::{
    env, fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

/// `initdb` and a start take about three seconds on an idle core.
const START: Duration = Duration::from_secs(60);
const USER: &str = "slipway";
const PASSWORD: &str = "only-for-this-test";

/// A server of its own on a free port of the loopback and a socket in its folder, with `fsync` on.
#[derive(Debug)]
pub struct Postgres {
    // Before the folder: it ends before its files go.
    program: Option<Program>,
    folder: TempDir,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    port: u16,
}

impl Postgres {
    /// Makes a database and starts its server.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, or does not start.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("slipway-postgres-").tempdir().expect("a temporary folder");
        // The server refuses to run as root; then another user must be able to come in here.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder can be opened to all");
        let owner = rustix::process::getuid().is_root().then(other_user);
        let mut server = Self { program: None, folder, programs: programs(), owner, port: 0 };
        server.make();
        // A port that was free may be taken by another test meanwhile.
        for _ in 0..5 {
            server.port = free_port();
            if server.launch().await {
                return server;
            }
        }
        panic!("PostgreSQL did not start five times:\n{}", fs::read_to_string(server.log()).unwrap_or_default());
    }

    fn make(&self) {
        let data = self.data();
        fs::create_dir(&data).expect("a folder");
        if let Some((user, group)) = self.owner {
            chown(&data, Some(user), Some(group)).expect("root may give a folder away");
            chown(self.folder.path(), Some(user), Some(group)).expect("root may give a folder away");
        }
        let password = self.folder.path().join("password");
        fs::write(&password, PASSWORD).expect("a file");
        let mut command = self.command("initdb");
        command.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--username", USER]);
        command.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data);
        let made = command.output().expect("initdb can be started");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    }

    /// Whether it came up: it does not when its port was taken meanwhile.
    async fn launch(&mut self) -> bool {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=on"]);
        command.args(["-c", "max_connections=60", "-c", "shared_buffers=32MB"]);
        // SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for its clients.
        let mut program = Program::start("postgres", command, &self.log()).ends_with(rustix::process::Signal::INT);
        let deadline = tokio::time::Instant::now() + START;
        while program.is_running() && tokio::time::Instant::now() < deadline {
            if PgConnection::connect(&self.url()).await.is_ok() {
                self.program = Some(program);
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("postgres.log")
    }

    /// How to connect, password included.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    /// The rows of a query, each as the object that `row_to_json` makes of it.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn rows(&self, query: &str) -> Vec<Value> {
        self.try_rows(query).await.expect("the query succeeds")
    }

    /// As [`rows`](Self::rows), for tables that may not be there yet and servers that may be down.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn try_rows(&self, query: &str) -> Result<Vec<Value>, sqlx::Error> {
        let mut connection = PgConnection::connect(&self.url()).await?;
        let query = format!("SELECT row_to_json(rows)::text FROM ({query}) AS rows");
        // Queries come from tests, never from input.
        let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(&mut connection).await?;
        let text = rows.iter().map(|row| row.try_get::<String, _>(0)).collect::<Result<Vec<_>, _>>()?;
        connection.close().await?;
        Ok(text.iter().map(|row| serde_json::from_str(row).expect("PostgreSQL writes JSON")).collect())
    }

    /// Runs a statement that gives no rows.
    ///
    /// # Panics
    /// When it fails.
    pub async fn execute(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.url()).await.expect("a connection");
        sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await
            .expect("the statement succeeds");
    }

    /// Ends it as a power cut would. Its backends notice and end by themselves.
    pub async fn kill9(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill9().await;
        }
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.stop().await;
        }
    }

    /// Starts it again on the same port with the same files.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_again(&mut self) {
        self.stop().await;
        // Backends of a killed server may hold the shared memory for a moment; then the first start ends at once.
        for _ in 0..20 {
            if self.launch().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("PostgreSQL does not start again:\n{}", fs::read_to_string(self.log()).unwrap_or_default());
    }
}

/// The folder with `initdb` and `postgres`: of `.tools/bin`, of Debian's newest package, or of the `PATH`.
fn programs() -> PathBuf {
    let own = workspace().join(".tools/bin/postgres");
    if let Ok(real) = own.canonicalize() {
        return real.parent().map(Path::to_owned).unwrap_or_default();
    }
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|folders| folders.filter_map(Result::ok).map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = debian.into_iter().rev().chain(env::split_paths(&path));
    let found = folders.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    found.expect("PostgreSQL is installed: `make tools` does it")
}

/// A user that is not root: `postgres` where there is one, else `nobody`.
fn other_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    of("postgres").or_else(|| of("nobody")).unwrap_or((65_534, 65_534))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_committed_is_there_after_a_kill_and_a_restart() {
        let mut server = Postgres::start().await;
        server.execute("CREATE TABLE t (n integer PRIMARY KEY)").await;
        server.execute("INSERT INTO t VALUES (1), (2)").await;
        assert_eq!(
            server.rows("SELECT n FROM t ORDER BY n").await,
            [serde_json::json!({ "n": 1 }), serde_json::json!({ "n": 2 })]
        );
        server.kill9().await;
        assert!(server.try_rows("SELECT 1 AS n").await.is_err());
        server.start_again().await;
        assert_eq!(server.rows("SELECT count(*) AS n FROM t").await, [serde_json::json!({ "n": 2 })]);
        let fsync = server.rows("SELECT current_setting('fsync') AS fsync").await;
        assert_eq!(fsync, [serde_json::json!({ "fsync": "on" })]);
    }
}
