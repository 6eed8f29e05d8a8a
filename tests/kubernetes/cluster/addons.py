"""What a cluster has beside Kubernetes' own programs: names for its services, and the numbers that autoscalers ask for. Both are small
programs on this machine's loopback, which stand in for CoreDNS and metrics-server."""

import base64
import sys

from folder import HERE


def start_names(folder, slot, processes, api):
    """Starts the name server and makes it the service that the kubelet tells pods of."""
    _start(processes, "dns", folder, slot)
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    own = slot.port("dns")
    api.create("/api/v1/namespaces/kube-system/services", {
        "metadata": {"name": "kube-dns"},
        "spec": {
            "clusterIP": slot.dns_service,
            "ports": [{"name": name, "protocol": protocol, "port": 53, "targetPort": own} for name, protocol in ports],
        },
    })  # fmt: skip
    api.create("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", {
        "metadata": {"name": "kube-dns-machine", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "ports": [{"name": name, "protocol": protocol, "port": own} for name, protocol in ports],
        "endpoints": [{"addresses": [slot.machine], "conditions": {"ready": True}}],
    })  # fmt: skip


def start_metrics(folder, slot, processes, api):
    """Starts the metrics server and has the API server ask it for `metrics.k8s.io`."""
    _start(processes, "metrics", folder, slot)
    own = slot.port("metrics")
    # The API server runs beside it, and finds it on the loopback by this name.
    api.create("/api/v1/namespaces/kube-system/services", {
        "metadata": {"name": "metrics"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": own}]},
    })  # fmt: skip
    authority = base64.b64encode((folder.pki / "ca.crt").read_bytes()).decode()
    api.create("/apis/apiregistration.k8s.io/v1/apiservices", {
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "caBundle": authority, "service": {"name": "metrics", "namespace": "kube-system", "port": own},
        },
    })  # fmt: skip
    processes.wait("metrics.k8s.io", lambda: api.answers("/apis/metrics.k8s.io/v1beta1/pods"), "metrics")


def _start(processes, name, folder, slot):
    processes.start(name, [sys.executable, "-B", HERE / f"{name}.py", folder.pki, str(slot.port("api")), str(slot.port(name))])
