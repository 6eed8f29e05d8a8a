//! Results in a real PostgreSQL: every one, once, whatever happens to the database.

use crate::{
    alone,
    client::Caller,
    documents::{Document, digits},
    facts::Facts,
};
use serde_json::json;
use slipway_kernel::RevisionId;
use slipway_testkit::{Mesh, MeshOptions, Postgres, eventually};
use std::{collections::BTreeSet, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn every_result_is_one_row_in_postgres_although_the_server_is_killed_meanwhile() {
    let _alone = alone().await;
    let mut postgres = Postgres::start().await;
    let env = vec![("RESULTS_URL".to_owned(), postgres.url())];
    let mesh = Mesh::start_with(MeshOptions { env, ..MeshOptions::default() }).await;
    let folder = mesh.folder();
    let outputs = json!([{ "postgres": { "url": "env:RESULTS_URL", "table": "predictions" } }, { "sqlite": {} }]);
    Document::digits("digits", "digits-v1").with("spec.outputs", outputs).deploy(folder).await.ok();
    let facts = Facts::read(folder, "digits").await;
    let text = serde_json::to_string(&facts.lines).unwrap();
    assert!(!text.contains("only-for-this-test"), "a password stands in the log");

    let caller = Caller::of(folder, "digits");
    let digits = digits();
    let mut sent = BTreeSet::new();
    for digit in &digits[..30] {
        sent.insert(caller.ask(digit).await.header("slipway-request-id").to_owned());
    }
    // The database goes; the door does not notice, and results wait.
    postgres.kill9().await;
    for digit in &digits[30..60] {
        sent.insert(caller.ask(digit).await.header("slipway-request-id").to_owned());
    }
    postgres.start_again().await;
    for (n, digit) in digits[60..80].iter().enumerate() {
        // Each twice under one id: the effect happens once.
        for _ in 0..2 {
            let id = format!("twice-{n}");
            let response = caller.post(&digit.body).header("slipway-request-id", &id).send().await.unwrap();
            assert_eq!(response.status(), 200);
            sent.insert(id);
        }
    }
    let query = "SELECT request_id, revision, model_digest, trace_id, ok FROM predictions WHERE deployment = 'digits' AND NOT suspect";
    let rows = eventually(Duration::from_secs(60), || async {
        let rows = postgres.try_rows(query).await.map_err(|error| error.to_string())?;
        if rows.len() >= sent.len() { Ok(rows) } else { Err(format!("{} of {}", rows.len(), sent.len())) }
    })
    .await;
    let found: BTreeSet<String> = rows.iter().map(|row| row["request_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((rows.len(), &found), (sent.len(), &sent), "every request once, and nothing else");
    let model =
        facts.deployment.revision(RevisionId::new(1, 1)).unwrap().planned().unwrap().plan.model_digest.to_string();
    for row in &rows {
        assert_eq!(
            (row["revision"].as_str(), row["model_digest"].as_str(), row["ok"].as_bool()),
            (Some("1-1"), Some(model.as_str()), Some(true))
        );
        assert_eq!(row["trace_id"].as_str().map(str::len), Some(32), "{row}");
    }
}
