//! `slipway ready`: waits until every process behind some addresses is ready, and the door answers.

use crate::{
    cli::{Format, Global, ReadyArgs},
    failure::{Failure, chain},
    output::{self, Mark},
};
use reqwest::{Client, Url};
use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What one process, or the door, says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Standing {
    address: String,
    ready: bool,
    /// What is missing; empty if nothing is.
    missing: Vec<String>,
}

pub(crate) async fn run(args: &ReadyArgs, global: &Global) -> Result<(), Failure> {
    let client = client()?;
    let admins = args.addresses.iter().map(|text| url(text)).collect::<Result<Vec<Url>, Failure>>()?;
    let door = args.ingress.as_deref().map(url).transpose()?;
    let deadline = Instant::now() + args.timeout;
    loop {
        let mut standings = Vec::new();
        for admin in &admins {
            standings.extend(processes(&client, admin).await);
        }
        if let Some(door) = &door {
            standings.push(asked(&client, door, "/v2/health/ready").await);
        }
        let ready = standings.iter().all(|standing| standing.ready);
        if !ready && Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        show(&standings, global);
        if ready {
            return Ok(());
        }
        let waiting = standings.iter().filter(|standing| !standing.ready).count();
        return Err(Failure::unreachable(format!("{waiting} of {} are not ready", standings.len())));
    }
}

fn client() -> Result<Client, Failure> {
    let client = Client::builder().timeout(ANSWER).no_proxy().build();
    client.map_err(|error| Failure::local(chain(&error)))
}

fn url(text: &str) -> Result<Url, Failure> {
    let refused = || Failure::input(format!("`{text}` is no address: http://host:port"));
    let url = Url::parse(text).map_err(|_| refused())?;
    if url.scheme() == "http" && url.host_str().is_some() { Ok(url) } else { Err(refused()) }
}

/// Every process that the name of the host stands for.
async fn processes(client: &Client, admin: &Url) -> Vec<Standing> {
    let host = admin.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let found = tokio::net::lookup_host((host, admin.port_or_known_default().unwrap_or(80))).await;
    let addresses: Vec<_> = match found {
        Ok(found) => found.collect(),
        Err(error) => return vec![standing(admin.as_str(), vec![error.to_string()])],
    };
    let mut standings = Vec::new();
    for address in addresses {
        if let Ok(one) = Url::parse(&format!("http://{address}")) {
            standings.push(Standing { address: format!("{host} {address}"), ..asked(client, &one, "/readyz").await });
        }
    }
    standings
}

async fn asked(client: &Client, base: &Url, path: &str) -> Standing {
    let answer = match client.get(format!("{}{path}", base.as_str().trim_end_matches('/'))).send().await {
        Ok(answer) => answer,
        Err(error) => return standing(base.as_str(), vec![chain(&error)]),
    };
    let status = answer.status();
    if status.is_success() {
        return standing(base.as_str(), Vec::new());
    }
    let body: Value = answer.json().await.unwrap_or_default();
    let missing: Vec<String> = body["notReady"].as_array().into_iter().flatten().map(condition).collect();
    standing(base.as_str(), if missing.is_empty() { vec![status.to_string()] } else { missing })
}

/// `controller/nats: connecting to the broker`
fn condition(one: &Value) -> String {
    let text = |key: &str| one[key].as_str().unwrap_or("?");
    format!("{}/{}: {}", text("service"), text("condition"), text("reason"))
}

fn standing(address: &str, missing: Vec<String>) -> Standing {
    Standing { address: address.to_owned(), ready: missing.is_empty(), missing }
}

fn show(standings: &[Standing], global: &Global) {
    if global.output == Format::Json {
        return output::json(&standings);
    }
    for Standing { address, ready, missing } in standings {
        let mark = if *ready { Mark::Good } else { Mark::Bad };
        output::line(format!("{} {address} {}", mark.sign(), missing.join("; ")).trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_address_is_one_of_plain_http() {
        assert!(url("http://slipway-controller:9464").is_ok());
        for text in ["", "slipway-controller:9464", "https://x", "http://"] {
            assert!(url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_reason() {
        let one = json!({ "service": "ingress", "condition": "identity", "reason": "asking" });
        assert_eq!(condition(&one), "ingress/identity: asking");
        assert!(!standing("a", vec![condition(&one)]).ready);
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_ready() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        slipway_runtime::tls::install_provider();
        let standings = processes(&client().unwrap(), &url(&format!("http://{address}")).unwrap()).await;
        assert_eq!(standings.len(), 1);
        assert!(!standings[0].ready && !standings[0].missing.is_empty());
    }
}
