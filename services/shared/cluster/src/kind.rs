//! Kinds of objects.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Group and version, such as `apps/v1`; the version alone in the core group.
    pub api_version: &'static str,
    /// Such as `Deployment`.
    pub kind: &'static str,
    /// As it stands in paths, such as `deployments`.
    pub plural: &'static str,
    /// Not every cluster serves it.
    pub is_optional: bool,
}

impl Kind {
    /// Settings.
    pub const CONFIG_MAP: Self =
        Self { api_version: "v1", kind: "ConfigMap", plural: "configmaps", is_optional: false };

    /// Whether an object is of this kind.
    #[must_use]
    pub fn is_of(self, object: &Value) -> bool {
        object["kind"] == self.kind && object["apiVersion"] == self.api_version
    }

    pub(crate) fn resource(self) -> ApiResource {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", self.api_version));
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, self.kind), self.plural)
    }
}
