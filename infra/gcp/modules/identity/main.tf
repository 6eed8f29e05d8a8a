# One account for each workload, which its service account alone may take, with the rights that it is said to need and no other. Nodes are
# scaled by GKE itself, so `scales_nodes` gives nothing here.
#
# Google knows a service account by the project, not by the cluster: one of the same namespace and name in another cluster of the project
# is the same to it. Installations that must not trust each other are in projects of their own.

locals {
  # An account without any right would be an account that nobody needs.
  workloads = {
    for name, workload in var.workloads : name => workload
    if workload.reads_artifacts || workload.writes_results || workload.reads_secrets
  }
}

resource "google_service_account" "this" {
  for_each = local.workloads

  # 6 to 30 characters: what is cut off must not make two of them one.
  account_id   = "${trimsuffix(substr("${var.name}-${each.key}", 0, 23), "-")}-${substr(sha1("${var.name}/${each.key}"), 0, 6)}"
  display_name = "${each.key} of ${var.name}"
  description  = "Of the service account ${each.value.service_account} in the namespace ${each.value.namespace}"
}

resource "google_service_account_iam_member" "this" {
  for_each = local.workloads

  service_account_id = google_service_account.this[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.workload_pool}[${each.value.namespace}/${each.value.service_account}]"
}

resource "google_storage_bucket_iam_member" "artifacts" {
  for_each = { for name, workload in local.workloads : name => workload if workload.reads_artifacts }

  bucket = var.artifacts
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${google_service_account.this[each.key].email}"
}

# Results are written once and read back as proof. Whoever may only create cannot overwrite either: for Google that is a deletion.
resource "google_storage_bucket_iam_member" "results" {
  for_each = merge([
    for name, workload in local.workloads : {
      for role in ["objectCreator", "objectViewer"] : "${name}/${role}" => { workload = name, role = role }
    } if workload.writes_results
  ]...)

  bucket = var.results
  role   = "roles/storage.${each.value.role}"
  member = "serviceAccount:${google_service_account.this[each.value.workload].email}"
}

# The secrets are not there yet, so the right is the project's, and a condition keeps it to the installation's. In conditions projects have
# numbers.
resource "google_project_iam_member" "secrets" {
  for_each = { for name, workload in local.workloads : name => workload if workload.reads_secrets }

  project = var.project
  role    = "roles/secretmanager.secretAccessor"
  member  = "serviceAccount:${google_service_account.this[each.key].email}"

  condition {
    title       = "${var.name}-only"
    description = "Secrets of the installation"
    expression  = "resource.name.startsWith(\"projects/${var.project_number}/secrets/${var.secrets_prefix}\")"
  }
}
