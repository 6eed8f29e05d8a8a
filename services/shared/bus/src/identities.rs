//! Certificates: who needs one puts a request where only he may, security answers where only it may. Private keys never travel.

use crate::{
    connect::Bus,
    error::BusError,
    kv::{Table, decode},
    principal::Principal,
    topology::Bucket,
    watched::Watched,
    wire::Stored,
};
use serde::{Deserialize, Serialize};
use slipway_kernel::{Label, Timestamp};
use std::{collections::BTreeMap, time::Duration};

/// What security issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Granted {
    /// The certificate and those that vouch for it, PEM.
    pub chain_pem: String,
    /// Whom to trust, PEM.
    pub ca_bundle_pem: String,
    /// Until when it is good.
    pub not_after: Timestamp,
}

/// A request for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRequest {
    /// Who asks. This is trustworthy: the broker lets nobody else write there.
    pub requester: Principal,
    /// Its name, a DNS label.
    pub instance: String,
    /// The request's own id.
    pub id: String,
    /// The identity asked for (a SPIFFE id). Whether the requester may have it is for security to decide.
    pub subject: String,
    /// The certificate signing request, PEM.
    pub csr_pem: String,
    /// DNS names and addresses asked for.
    pub names: Vec<String>,
    /// When, by the broker's clock.
    pub at: Timestamp,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Security refused.
    #[error("the identity is refused: {0}")]
    Refused(String),
    /// Security did not answer in time.
    #[error("no answer to the request for an identity within {0:?}")]
    Timeout(Duration),
    /// The broker.
    #[error(transparent)]
    Bus(#[from] BusError),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    id: String,
    subject: String,
    csr_pem: String,
    names: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    granted: Option<Granted>,
    #[serde(default)]
    refused: String,
}

const TRUST: &str = "trust";

/// The exchange.
#[derive(Clone, Debug)]
pub struct Identities {
    table: Table,
    bus: Bus,
}

impl Identities {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { table: Table::new(bus.clone(), Bucket::Identities), bus }
    }

    /// Asks for a certificate and waits for it. Asking again is a new request.
    ///
    /// # Errors
    /// When it is refused, or there is no answer within `timeout`.
    pub async fn request(
        &self,
        instance: &str,
        subject: &str,
        csr_pem: &str,
        names: &[String],
        timeout: Duration,
    ) -> Result<Granted, IdentityError> {
        let instance: Label = instance.parse().map_err(|reason| BusError::Unreadable {
            action: format!("ask for an identity as `{instance}`"),
            reason,
        })?;
        let place = format!("{}.{instance}", self.bus.principal());
        let asked = Asked {
            id: uuid::Uuid::now_v7().to_string(),
            subject: subject.to_owned(),
            csr_pem: csr_pem.to_owned(),
            names: names.to_vec(),
        };
        let (answer_key, id) = (format!("issued.{place}"), asked.id.clone());
        let mut answers = self
            .table
            .follow(&answer_key.clone(), move |entries| {
                let answer = entries.get(&answer_key)?;
                decode::<Answered>(&answer_key, answer).ok().filter(|answer| answer.id == id)
            })
            .await?;
        self.table.put(&format!("asked.{place}"), &asked).await?;
        let answer = answers.wait(timeout, Option::is_some).await;
        let answer = answer.and_then(|answer| (*answer).clone()).ok_or(IdentityError::Timeout(timeout))?;
        answer.granted.ok_or(IdentityError::Refused(answer.refused))
    }

    /// The requests that have no answer yet (security).
    ///
    /// # Errors
    /// When the broker does not answer at first.
    pub async fn requests(&self) -> Result<Watched<Vec<IdentityRequest>>, BusError> {
        self.table.follow(">", open_requests).await
    }

    /// Answers a request (security).
    ///
    /// # Errors
    /// When the write fails or is not allowed.
    pub async fn answer(&self, request: &IdentityRequest, answer: Result<Granted, String>) -> Result<(), BusError> {
        let (granted, refused) = match answer {
            Ok(granted) => (Some(granted), String::new()),
            Err(reason) => (None, reason),
        };
        let key = format!("issued.{}.{}", request.requester, request.instance);
        self.table.put(&key, &Answered { id: request.id.clone(), granted, refused }).await.map(drop)
    }

    /// Takes back what was issued to the identities that `gone` picks: who asks for it again is refused with `reason` (security).
    /// What was signed stays valid until it ends by itself. Returns how many there were.
    ///
    /// # Errors
    /// When the broker does not answer, or a write fails or is not allowed.
    pub async fn withdraw(&self, gone: impl Fn(&str) -> bool + Send, reason: &str) -> Result<usize, BusError> {
        let entries = self.table.list(">").await?;
        let issued: Vec<(String, String)> =
            issued(&entries).filter(|(_, _, subject)| gone(subject)).map(|(key, id, _)| (key, id)).collect();
        for (key, id) in &issued {
            let answer = Answered { id: id.clone(), granted: None, refused: reason.to_owned() };
            self.table.put(key, &answer).await?;
        }
        Ok(issued.len())
    }

    /// Says whom everybody is to trust (security).
    ///
    /// # Errors
    /// When the write fails or is not allowed.
    pub async fn set_trust(&self, ca_bundle_pem: &str) -> Result<(), BusError> {
        self.table.put(TRUST, &ca_bundle_pem).await.map(drop)
    }

    /// Follows whom to trust.
    ///
    /// # Errors
    /// When the broker does not answer at first.
    pub async fn trust(&self) -> Result<Watched<Option<String>>, BusError> {
        self.table.follow(TRUST, |entries| decode(TRUST, entries.get(TRUST)?).ok()).await
    }
}

/// The answers that granted something: key, request, identity.
fn issued(entries: &BTreeMap<String, Stored>) -> impl Iterator<Item = (String, String, String)> {
    entries.iter().filter_map(|(key, stored)| {
        let asked: Asked = decode(key, stored).ok()?;
        let key = format!("issued.{}", key.strip_prefix("asked.")?);
        let answer: Answered = decode(&key, entries.get(&key)?).ok()?;
        (answer.id == asked.id && answer.granted.is_some()).then_some((key, asked.id, asked.subject))
    })
}

fn open_requests(entries: &BTreeMap<String, Stored>) -> Vec<IdentityRequest> {
    let answered = |place: &str, id: &str| {
        let key = format!("issued.{place}");
        let answer = entries.get(&key).and_then(|stored| decode::<Answered>(&key, stored).ok());
        answer.is_some_and(|answer| answer.id == id)
    };
    let requests = entries.iter().filter_map(|(key, stored)| {
        let place = key.strip_prefix("asked.")?;
        let (requester, instance) = place.split_once('.')?;
        let asked: Asked = decode(key, stored).ok()?;
        if answered(place, &asked.id) {
            return None;
        }
        Some(IdentityRequest {
            requester: requester.parse().ok()?,
            instance: instance.to_owned(),
            id: asked.id,
            subject: asked.subject,
            csr_pem: asked.csr_pem,
            names: asked.names,
            at: stored.at,
        })
    });
    requests.collect()
}
