# One subnet for nodes, since Google's subnets span the zones of a region. Nothing in it has an address of the internet: it reaches out
# through address translation, and Google's own services without leaving Google's network. Every flow is logged.

locals {
  # The blocks of zones are free to be given to something else: nodes take that of the first zone, pods, which are many more, those of
  # the others. Services take a public block, for no subnet here is public.
  nodes    = var.private_subnets[var.zones[0]]
  pods     = { for index, zone in slice(var.zones, 1, length(var.zones)) : "pods-${index + 1}" => var.private_subnets[zone] }
  services = var.public_subnets[var.zones[0]]
}

resource "google_compute_network" "this" {
  name                    = var.name
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"
}

resource "google_compute_subnetwork" "nodes" {
  name                     = "${var.name}-nodes"
  network                  = google_compute_network.this.id
  region                   = var.region
  ip_cidr_range            = local.nodes
  private_ip_google_access = true

  dynamic "secondary_ip_range" {
    for_each = merge(local.pods, { services = local.services })

    content {
      range_name    = secondary_ip_range.key
      ip_cidr_range = secondary_ip_range.value
    }
  }

  log_config {
    aggregation_interval = "INTERVAL_5_MIN"
    flow_sampling        = 1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_router" "this" {
  name    = "${var.name}-router"
  network = google_compute_network.this.id
  region  = var.region
}

resource "google_compute_router_nat" "this" {
  name                               = "${var.name}-nat"
  router                             = google_compute_router.this.name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  # A node stands for all its pods: few ports would be used up by a single one that opens connections, many for each node would take
  # addresses that nobody uses.
  enable_dynamic_port_allocation      = true
  enable_endpoint_independent_mapping = false
  min_ports_per_vm                    = 256
  max_ports_per_vm                    = 8192

  subnetwork {
    name                    = google_compute_subnetwork.nodes.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  # What gets through stands in the flow logs.
  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# Google refuses by itself what no rule allows, but says nothing of it. Rules that GKE makes for its load balancers come before this one.
resource "google_compute_firewall" "deny" {
  #checkov:skip=CKV2_GCP_12:it denies; there is nothing in it that allows
  name          = "${var.name}-deny-ingress"
  description   = "Whatever no other rule allows"
  network       = google_compute_network.this.id
  direction     = "INGRESS"
  priority      = 65534
  source_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

# Which pod may talk to which is for the cluster's network policies to say. There is no rule for shells on nodes.
#trivy:ignore:GCP-0072 Inside the network; pods choose their ports, and policies of the cluster choose among pods.
#trivy:ignore:GCP-0074 As above.
resource "google_compute_firewall" "internal" {
  name          = "${var.name}-internal"
  description   = "Nodes, pods and the API server among each other"
  network       = google_compute_network.this.id
  direction     = "INGRESS"
  priority      = 1000
  source_ranges = [var.address_space]

  allow {
    protocol = "tcp"
  }

  allow {
    protocol = "udp"
  }

  allow {
    protocol = "icmp"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}
