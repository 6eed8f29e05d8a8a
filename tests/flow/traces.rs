//! One request, one trace, from the client to the row.

use crate::{
    alone,
    client::{Answered, Caller},
    documents::{Document, digits},
};
use slipway_testkit::{Collector, Mesh, MeshOptions, broken_links, eventually};
use std::{collections::BTreeSet, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_connected_trace_from_the_client_to_the_sink_row() {
    let _alone = alone().await;
    let collector = Collector::start().await;
    let options = MeshOptions { otlp: Some(collector.endpoint()), ..MeshOptions::default() };
    let mesh = Mesh::start_with(options).await;
    let folder = mesh.folder();
    Document::digits("digits", "digits-v1").deploy(folder).await.ok();
    let caller = Caller::of(folder, "digits");
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let request = caller.post(&digits()[0].body).header("traceparent", format!("00-{trace}-{span}-01"));
    let answered = Answered::read(request.send().await.unwrap()).await;
    assert!(answered.header("traceparent").contains(trace), "{:?}", answered.headers);

    let wanted = BTreeSet::from(["ingress".to_owned(), "inference-worker".to_owned(), "sink-writer".to_owned()]);
    let spans = eventually(Duration::from_secs(40), || async {
        let spans = collector.trace(trace);
        let services: BTreeSet<String> = spans.iter().map(|span| span.service.clone()).collect();
        let whole = wanted.is_subset(&services) && broken_links(&spans, span).is_empty();
        if whole { Ok(spans) } else { Err(format!("{services:?}, broken: {:?}", broken_links(&spans, span))) }
    })
    .await;
    // Exactly one span hangs on the client's own.
    let tops: Vec<&str> = spans.iter().filter(|one| one.parent == span).map(|one| one.service.as_str()).collect();
    assert_eq!(tops, ["ingress"]);

    // The demand is a trace as well: from the gate through the duties of every service that acted on it.
    let facts = crate::facts::Facts::read(folder, "digits").await;
    let of_request = facts.lines[0].traceparent.clone().expect("the first fact carries its trace");
    let demanded = of_request.split('-').nth(1).unwrap().to_owned();
    eventually(Duration::from_secs(20), || async {
        let services: BTreeSet<String> = collector.trace(&demanded).into_iter().map(|span| span.service).collect();
        let whole = [
            "controller",
            "provisioner",
            "platform-selector",
            "ingress",
            "sink-writer",
            "observability",
            "security",
            "validator",
        ]
        .iter()
        .all(|service| services.contains(*service));
        if whole { Ok(()) } else { Err(services) }
    })
    .await;
}
