//! What the chart gives and refuses, as far as no pod is needed to see it.

use crate::{
    installed::{CHART, RELEASE, install},
    kubectl::Namespace,
};
use slipway_testkit::workspace;
use std::{collections::BTreeMap, fs};

/// What each service account may do, beyond what everybody may.
const RIGHTS: &str = "tests/kubernetes/rights.json";

/// The lines of `kubectl auth can-i --list`, with one space where it has many.
fn may(namespace: &Namespace, account: &str) -> Vec<String> {
    let user = format!("system:serviceaccount:{}:{account}", namespace.name);
    let told = namespace.run(&["auth", "can-i", "--list", "--no-headers", "--as", &user]).unwrap();
    told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn each_service_may_do_what_the_golden_file_says_and_no_more() {
    let namespace = Namespace::new(&[]).await;
    install(&namespace, CHART, &[]).unwrap();
    let everybody = may(&namespace, "default");
    let accounts =
        namespace.run(&["get", "serviceaccounts", "--output", "jsonpath={.items[*].metadata.name}"]).unwrap();
    let rights: BTreeMap<&str, Vec<String>> = accounts
        .split_whitespace()
        .filter(|account| *account != "default")
        .map(|account| {
            let own = may(&namespace, account).into_iter().filter(|line| !everybody.contains(line));
            let mut own: Vec<String> = own.map(|line| line.replace(&namespace.name, "NAMESPACE")).collect();
            own.sort();
            (account, own)
        })
        .collect();
    namespace.helm(&["uninstall", RELEASE]).unwrap();
    let found = format!("{}\n", serde_json::to_string_pretty(&rights).unwrap());
    let file = workspace().join(RIGHTS);
    if std::env::var_os("SLIPWAY_UPDATE_GOLDEN").is_some() {
        fs::write(&file, &found).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == golden, "{RIGHTS} says otherwise (SLIPWAY_UPDATE_GOLDEN=1 writes it anew):\n{found}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn values_that_mean_nothing_or_cannot_work_are_refused_by_name() {
    let namespace = Namespace::new(&[]).await;
    for (value, named) in [
        ("imag.tag=x", "imag"),
        ("services.controler.replicas=2", "controler"),
        ("services.ingress.replicas=many", "replicas"),
        ("nats.servers=2", "servers"),
        ("workers.onDrift=ignore", "onDrift"),
        ("workers.engines={tensorrt}", "engines"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("image.digest=abc", "digest"),
        ("natsClients={Robot}", "natsClients"),
        ("telemetry.sampleRatio=2", "sampleRatio"),
        ("postgresql.externalSecret.storeKind=Vault", "storeKind"),
    ] {
        let refused = install(&namespace, CHART, &["--dry-run=client", "--set", value]).expect_err(value);
        assert!(refused.contains(named), "{value}: {refused}");
    }
    let alone = ["--dry-run=client", "--set", "postgresql.secretName=,services.sink-writer.replicas=2"];
    let refused = install(&namespace, CHART, &alone).unwrap_err();
    assert!(refused.contains("postgresql.secretName"), "{refused}");
    for (secret, named) in [("", "postgresql.secretName"), ("database", "externalSecret.key")] {
        let value = format!("postgresql.externalSecret.store=vault,postgresql.secretName={secret}");
        let refused = install(&namespace, CHART, &["--dry-run=client", "--set", &value]).unwrap_err();
        assert!(refused.contains(named), "{value}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn every_values_file_makes_objects_that_the_api_server_takes_strictly() {
    for file in ["values-dev.yaml", "values-production.yaml"] {
        let namespace = Namespace::new(&["pod-security.kubernetes.io/enforce=restricted"]).await;
        let values = format!("charts/slipway/{file}");
        let refused = |text: String| panic!("{file}: {text}");
        let more = [
            "routes.gateway.name=public",
            "postgresql.secretName=database",
            "postgresql.externalSecret.store=vault",
            "postgresql.externalSecret.key=slipway/database",
            "postgresql.externalSecret.property=url",
        ]
        .join(",");
        let served = "monitoring.coreos.com/v1";
        let template =
            ["template", RELEASE, "charts/slipway", "--values", &values, "--set", &more, "--api-versions", served];
        let objects = namespace.helm(&template).unwrap_or_else(refused);
        assert!(objects.contains("kind: ExternalSecret"));
        let written = namespace.given(&["create", "--validate=strict", "--dry-run=server", "-f", "-"], &objects);
        written.unwrap_or_else(refused);
    }
}
