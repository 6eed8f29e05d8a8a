#!/usr/bin/env python3
"""What the pods of a cluster use, as `metrics.k8s.io/v1beta1`: `metrics.py PKI API-PORT PORT`, on 127.0.0.1, over TLS.

Reads each kubelet's /metrics/resource through the API server and turns its counters of CPU into rates. That is what a
HorizontalPodAutoscaler and `kubectl top pods` ask for. Callers are not asked who they are: only this machine can call.
"""

import http.server
import json
import re
import ssl
import sys
import threading
import time
import urllib.parse

from api import Api

GROUP = "metrics.k8s.io/v1beta1"
# A kubelet looks at its containers about every ten seconds; between two looks its counters stand still.
READ_EVERY_S = 2
SAMPLE = re.compile(
    r'^container_(cpu_usage_seconds_total|memory_working_set_bytes)\{container="([^"]+)",namespace="([^"]+)",pod="([^"]+)"\} (\S+) (\d+)',
    re.MULTILINE,
)
PODS = re.compile(rf"/apis/{GROUP}(?:/namespaces/([^/]+))?/pods(?:/([^/]+))?")


class Usage:
    """The newest sample of each container, with the rate since the one before."""

    def __init__(self, api):
        self._api, self._samples, self._rates = api, {}, {}

    def follow(self):
        while True:
            try:
                self._read()
            except Exception as error:  # A node that is away has no numbers; the last ones stand until it is gone.
                print(f"reading nodes: {error}", file=sys.stderr, flush=True)
            time.sleep(READ_EVERY_S)

    def _read(self):
        samples = {}
        for node in self._api.get("/api/v1/nodes")["items"]:
            text = self._api.text(f"/api/v1/nodes/{node['metadata']['name']}/proxy/metrics/resource")
            for what, container, namespace, pod, value, at in SAMPLE.findall(text):
                sample = samples.setdefault((namespace, pod, container), {})
                sample[what] = float(value)
                if what.startswith("cpu"):
                    sample["at"] = int(at) / 1000
        for key, sample in samples.items():
            before = self._samples.get(key)
            if before and "at" in sample and sample["at"] > before.get("at", sample["at"]):
                used = sample["cpu_usage_seconds_total"] - before["cpu_usage_seconds_total"]
                window = sample["at"] - before["at"]
                self._rates[key] = (max(used, 0) / window, window, sample["at"], sample.get("memory_working_set_bytes", 0))
        # Where nothing new was counted the older sample stays, so that the next rate is over the whole time.
        self._samples = {
            key: before if (before := self._samples.get(key)) and before.get("at") == sample.get("at") else sample
            for key, sample in samples.items()
        }
        self._rates = {key: rate for key, rate in self._rates.items() if key in samples}

    def pods(self, namespace, selector):
        path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
        query = f"?{urllib.parse.urlencode({'labelSelector': selector})}" if selector else ""
        found = (self._pod(pod) for pod in self._api.get(path + query)["items"])
        return [pod for pod in found if pod["containers"]]

    def _pod(self, pod):
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        rates = {container["name"]: self._rates.get((namespace, name, container["name"])) for container in pod["spec"]["containers"]}
        known = {container: rate for container, rate in rates.items() if rate}
        window, at = max((rate[1] for rate in known.values()), default=0), min((rate[2] for rate in known.values()), default=0)
        usage = [
            {"name": container, "usage": {"cpu": f"{round(cores * 1e9)}n", "memory": f"{round(memory / 1024)}Ki"}}
            for container, (cores, _, _, memory) in known.items()
        ]
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
        metadata = {"name": name, "namespace": namespace, "labels": pod["metadata"].get("labels", {}), "creationTimestamp": stamp}
        return {"metadata": metadata, "timestamp": stamp, "window": f"{window:.3f}s", "containers": usage}


RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": GROUP,
    "resources": [{"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}],
}


def answer(usage, path, query):
    """Status and body."""
    if path.rstrip("/") == f"/apis/{GROUP}":
        return 200, RESOURCES
    asked = PODS.fullmatch(path)
    if not asked:
        return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
    namespace, name = asked.groups()
    items = usage.pods(namespace, query.get("labelSelector", [""])[0])
    if not name:
        return 200, {"kind": "PodMetricsList", "apiVersion": GROUP, "metadata": {}, "items": items}
    own = [pod for pod in items if pod["metadata"]["name"] == name]
    return (200, {"kind": "PodMetrics", "apiVersion": GROUP, **own[0]}) if own else answer(usage, "", {})


def serve(usage, pki, port):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path, _, query = self.path.partition("?")
            status, body = answer(usage, path, urllib.parse.parse_qs(query))
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f"{pki}/control-plane.crt", f"{pki}/control-plane.key")
    # The handshake belongs to the thread of its connection: a caller that says nothing holds up no other.
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


def main():
    pki, api_port, port = sys.argv[1:]
    usage = Usage(Api(pki, api_port, "addons"))
    threading.Thread(target=usage.follow, daemon=True).start()
    serve(usage, pki, int(port))


if __name__ == "__main__":
    main()
