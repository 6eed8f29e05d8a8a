//! What one service keeps in a cluster for each deployment, beside the workers that the controller keeps: rules, dashboards, routes.
//!
//! Its objects bear the installation, the deployment and whose part they are. By these they are found again and removed, so nothing has to be
//! remembered, and the controller, which removes what of a deployment nobody wants, knows that they are not its own ([`PART`]).

use crate::{ApiError, Cluster, Kind, Objects, text};
use serde_json::Value;
use slipway_kernel::{DeploymentId, names};

/// The label with the name of the service that keeps an object. What bears it is none of the controller's.
pub const PART: &str = "slipway.dev/part";

/// The part of one service. It is the field manager of what it makes.
pub struct Part {
    objects: Objects,
    installation: String,
    service: &'static str,
    kinds: &'static [Kind],
}

/// What there is of a deployment after it was looked after.
#[derive(Debug, Default)]
pub struct Kept {
    /// Objects as the API server has them now.
    pub objects: Vec<(Kind, Value)>,
    /// Kinds of which objects were wanted, and which the cluster does not serve.
    pub unserved: Vec<Kind>,
    /// What is not wanted any more, and was removed.
    pub removed: Vec<(Kind, String)>,
}

impl Part {
    /// That of a service, which makes objects of these kinds and no others, in this namespace, else in that of the own pod.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        namespace: Option<&str>,
        installation: &str,
        service: &'static str,
        kinds: &'static [Kind],
    ) -> Self {
        let objects =
            Objects::new(cluster.client, namespace.unwrap_or(&cluster.namespace), &format!("slipway-{service}"));
        Self { objects, installation: installation.to_owned(), service, kinds }
    }

    /// The calls, for what is to be seen of an object after it was made.
    #[must_use]
    pub const fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Sees to it that a deployment has exactly these objects. An optional kind that is not served is told, and no error.
    ///
    /// # Errors
    /// As the API server says. What was done until then stays, and doing it again is the same.
    pub async fn keep(&self, id: &DeploymentId, wanted: Vec<(Kind, Value)>) -> Result<Kept, ApiError> {
        let selector = format!(
            "slipway.dev/installation={},slipway.dev/deployment={},{PART}={}",
            self.installation,
            names::label(id),
            self.service
        );
        let mut kept = Kept::default();
        for kind in self.kinds {
            let mine = || wanted.iter().filter(|(wanted, _)| wanted == kind).map(|(_, object)| object);
            let seen = match self.objects.list(*kind, &selector, "").await {
                Err(ApiError::NotFound) if kind.is_optional => {
                    kept.unserved.extend(mine().next().map(|_| *kind));
                    continue;
                }
                seen => seen?,
            };
            for object in mine() {
                kept.objects.push((*kind, self.objects.apply(*kind, &self.marked(id, object), true).await?));
            }
            for object in seen {
                let name = text(&object, "/metadata/name");
                if mine().all(|wanted| text(wanted, "/metadata/name") != name) {
                    self.objects.delete(*kind, name, text(&object, "/metadata/uid")).await?;
                    kept.removed.push((*kind, name.to_owned()));
                }
            }
        }
        Ok(kept)
    }

    /// Where it is and whose, which is the same for all.
    fn marked(&self, id: &DeploymentId, object: &Value) -> Value {
        let mut object = object.clone();
        object["metadata"]["namespace"] = self.objects.namespace().into();
        let labels = &mut object["metadata"]["labels"];
        labels["app.kubernetes.io/managed-by"] = "slipway".into();
        labels["app.kubernetes.io/component"] = self.service.into();
        labels["slipway.dev/installation"] = self.installation.as_str().into();
        labels["slipway.dev/deployment"] = names::label(id).into();
        labels[PART] = self.service.into();
        object
    }
}
