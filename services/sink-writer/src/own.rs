//! What the mesh keeps for itself: the ledger, the results of validation, and those of deployments that name no database of their own. In files
//! of the data folder, where one process owns them; or in one PostgreSQL, which replicas share.

use crate::{
    config::Config,
    domain::fleeting,
    error::SinkError,
    ledger::Store,
    sinks::{PostgresSink, SqliteSink, Table, open_postgres, open_sqlite},
};
use slipway_kernel::spec::{Output, SecretReference};
use slipway_runtime::Frame;
use sqlx::{PgPool, SqlitePool};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Connections of a replica to the database: the two queues, the ledger, its verification, and questions.
const CONNECTIONS: u32 = 6;
/// The pauses between attempts to reach the database at the start: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// The tables.
#[derive(Clone)]
pub(crate) struct Own {
    results: Place,
    probes: Arc<dyn Table>,
    ledger: Store,
    /// The data folder, if it is gone with this process's place.
    fleeting: Option<PathBuf>,
}

/// Where tables of results lie.
#[derive(Clone)]
enum Place {
    File(SqlitePool),
    Database(PgPool),
}

impl Own {
    /// Opens all of it. A database is waited for where it is not there yet; `/readyz` says so.
    ///
    /// # Errors
    /// When files cannot be opened, or the secret with the database's URL is not there or is none; none when the process ends meanwhile.
    pub(crate) async fn open(config: &Config, frame: &Frame) -> anyhow::Result<Option<Self>> {
        let fleeting = (!config.embedded.lasting).then(|| frame.data_dir.clone());
        let Some(reference) = &config.database.url else {
            return in_files(config, frame, fleeting).await.map(Some);
        };
        let condition = frame.health.condition("database");
        let pool = open_postgres(reference, CONNECTIONS)?;
        let mut pause = PAUSES[0];
        loop {
            match in_database(&pool).await {
                Ok(own) => {
                    condition.set_ready();
                    return Ok(Some(Self { fleeting, ..own }));
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the database is waited for");
                    condition.set_not_ready(waiting(reference, &error));
                }
            }
            if frame.shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(None);
            }
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Whether rows of this output last as long as they must.
    ///
    /// # Errors
    /// When they would be gone with this process's place.
    pub(crate) fn lasting(&self, output: &Output) -> Result<(), SinkError> {
        let Some(folder) = &self.fleeting else { return Ok(()) };
        let has_database = matches!(self.results, Place::Database(_));
        fleeting(output, folder, has_database).map_or(Ok(()), |place| Err(SinkError::Fleeting { place }))
    }

    /// Where validation traffic goes.
    pub(crate) fn probes(&self) -> &Arc<dyn Table> {
        &self.probes
    }

    /// The ledger's tables.
    pub(crate) fn ledger(&self) -> Store {
        self.ledger.clone()
    }

    /// A table of results, made if it is not there; its name is a checked identifier.
    pub(crate) async fn results(&self, table: &str) -> Result<Arc<dyn Table>, SinkError> {
        Ok(match &self.results {
            Place::File(pool) => Arc::new(SqliteSink::new(pool.clone(), table).await?),
            Place::Database(pool) => Arc::new(PostgresSink::over(pool.clone(), table).made().await?),
        })
    }
}

async fn in_files(config: &Config, frame: &Frame, fleeting: Option<PathBuf>) -> anyhow::Result<Own> {
    if fleeting.is_some() {
        tracing::warn!(
            "the ledger begins anew with this process's place: damage to the log from before is not seen; set database.url"
        );
    }
    let file = |name: &str| frame.data_dir.join(name);
    let probes = open_sqlite(&file(&config.embedded.probes_file)).await?;
    Ok(Own {
        results: Place::File(open_sqlite(&file(&config.embedded.results_file)).await?),
        probes: Arc::new(SqliteSink::new(probes, "probes").await?),
        ledger: Store::in_file(&file(&config.ledger.file)).await?,
        fleeting,
    })
}

async fn in_database(pool: &PgPool) -> Result<Own, SinkError> {
    let probes = PostgresSink::over(pool.clone(), "slipway_probes").made().await?;
    let ledger = Store::in_database(pool.clone()).await.map_err(|source| SinkError::Database {
        sink: "ledger".to_owned(),
        action: "making the tables",
        source,
    })?;
    Ok(Own { results: Place::Database(pool.clone()), probes: Arc::new(probes), ledger, fleeting: None })
}

/// Why it is waited for, without what an error may know of the URL.
fn waiting(reference: &SecretReference, error: &SinkError) -> String {
    let source = std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
    format!("the database of {reference}: {error}{source}")
}
