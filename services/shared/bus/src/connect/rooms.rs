//! What can be reached through a connection.

use super::Bus;
use crate::{
    api_keys::ApiKeys,
    blobs::Blobs,
    dead::DeadLetters,
    error::BusError,
    flags::Flags,
    identities::Identities,
    intake::Intake,
    lease::Leases,
    ledger::Ledger,
    log::Log,
    queue::{AcceptedRequests, Asks, Captures, Inbound, Replies, Requests, Results, Uploads},
    routes::RouteReports,
    sinks::Sinks,
    troubles::Troubles,
    workers::Workers,
};

impl Bus {
    /// The log.
    #[must_use]
    pub fn log(&self) -> Log {
        Log::new(self.clone())
    }

    /// Leases.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases::new(self.clone())
    }

    /// What the clients of models put into the object stores of their namespaces.
    #[must_use]
    pub fn uploads(&self) -> Uploads {
        Uploads::new(self.clone())
    }

    /// Blobs.
    #[must_use]
    pub fn blobs(&self) -> Blobs {
        Blobs::new(self.clone())
    }

    /// The registry of live workers.
    #[must_use]
    pub fn workers(&self) -> Workers {
        Workers::new(self.clone())
    }

    /// What is wrong with workers.
    #[must_use]
    pub fn troubles(&self) -> Troubles {
        Troubles::new(self.clone())
    }

    /// What the ingress replicas route by.
    #[must_use]
    pub fn routes(&self) -> RouteReports {
        RouteReports::new(self.clone())
    }

    /// Certificate requests.
    #[must_use]
    pub fn identities(&self) -> Identities {
        Identities::new(self.clone())
    }

    /// Hashed API keys.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys::new(self.clone())
    }

    /// Integrity flags.
    #[must_use]
    pub fn flags(&self) -> Flags {
        Flags::new(self.clone())
    }

    /// The intake.
    #[must_use]
    pub fn intake(&self) -> Intake {
        Intake::new(self.clone())
    }

    /// Requests that clients left.
    #[must_use]
    pub fn inbound(&self) -> Inbound {
        Inbound::new(self.clone())
    }

    /// Listens for requests whose clients wait; the replicas share them out.
    ///
    /// # Errors
    /// When listening cannot begin.
    pub async fn asks(&self) -> Result<Asks, BusError> {
        Asks::listen(self).await
    }

    /// Answers at the inboxes of clients.
    #[must_use]
    pub fn replies(&self) -> Replies {
        Replies::new(self.clone())
    }

    /// Queues of inference requests.
    #[must_use]
    pub fn requests(&self) -> Requests {
        Requests::new(self.clone())
    }

    /// Accepted asynchronous requests.
    #[must_use]
    pub fn accepted(&self) -> AcceptedRequests {
        AcceptedRequests::new(self.clone())
    }

    /// Recorded results.
    #[must_use]
    pub fn results(&self) -> Results {
        Results::new(self.clone())
    }

    /// Captured results.
    #[must_use]
    pub fn captures(&self) -> Captures {
        Captures::new(self.clone())
    }

    /// Dead letters.
    #[must_use]
    pub fn dead(&self) -> DeadLetters {
        DeadLetters::new(self.clone())
    }

    /// What lies in the sinks.
    #[must_use]
    pub fn sinks(&self) -> Sinks {
        Sinks::new(self.clone())
    }

    /// The log against its ledger.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        Ledger::new(self.clone())
    }
}
