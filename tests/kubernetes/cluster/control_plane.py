"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler, on this machine's loopback alone."""

import json

from api import Api
from certificates import CALLERS
from errors import Failure

# A node that says nothing counts as lost after this; Kubernetes' own 50 s would make a test of it a minute long.
NODE_GRACE = ["--node-monitor-period=1s", "--node-monitor-grace-period=12s"]
LOCAL = "127.0.0.1"


def kubeconfig(folder, slot, caller, address=LOCAL, pki=None):
    """How `caller` reaches the API server at `address`, with the keys in `pki`. JSON is YAML too."""
    pki = pki or folder.pki
    cluster = {"server": f"https://{address}:{slot.port('api')}", "certificate-authority": f"{pki}/ca.crt"}
    user = {"client-certificate": f"{pki}/{caller}.crt", "client-key": f"{pki}/{caller}.key"}
    text = json.dumps({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": caller, "user": user}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": caller}}],
        "current-context": "tests",
    }, indent=1)  # fmt: skip
    path = folder.etc / f"{caller}.kubeconfig"
    path.write_text(text)
    return path


def start(folder, slot, processes, programs, held, nodes):
    """Starts the API server and its store; answers how to ask it. Without nodes no pod is told where it is."""
    for caller, _, _ in CALLERS:
        kubeconfig(folder, slot, caller)
    processes.start("etcd", [programs / "etcd", *_etcd(folder, slot)], keep=[held.fileno()])
    processes.start("kube-apiserver", [programs / "kube-apiserver", *_apiserver(folder, slot, nodes)])
    return Api(folder.pki, slot.port("api"))


def start_controllers(folder, slot, processes, programs, api):
    """Starts the other two, once there is somebody for them to ask."""
    processes.wait("the API server", lambda: api.answers("/readyz"), "kube-apiserver")
    processes.start("kube-controller-manager", [programs / "kube-controller-manager", *_controller_manager(folder, slot)])
    processes.start("kube-scheduler", [programs / "kube-scheduler", *_scheduler(folder, slot)])


def wait(folder, slot, processes, api):
    """Waits until pods could be made, and checks what a wrong compiler gets wrong."""
    for name in ["controller-manager", "scheduler"]:
        own = Api(folder.pki, slot.port(name))
        processes.wait(f"kube-{name}", lambda own=own: own.answers("/healthz"), f"kube-{name}")
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    processes.wait("the default service account", lambda: api.answers(account), "kube-controller-manager")
    document = api.text("/openapi/v2")
    if not document.startswith('{"swagger":"2.0"'):
        raise Failure(f"the API server's OpenAPI document is broken ({document[:40]}): another Go built it than tools/build names")


def _etcd(folder, slot):
    pki = folder.pki
    client, peer = f"https://{LOCAL}:{slot.port('etcd')}", f"https://{LOCAL}:{slot.port('etcd-peer')}"
    keys = [f"cert-file={pki}/etcd.crt", f"key-file={pki}/etcd.key", "client-cert-auth", f"trusted-ca-file={pki}/etcd-ca.crt"]
    return [
        "--name=tests", f"--data-dir={folder.path}/etcd", "--log-level=warn",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=tests={peer}",
        *(f"--{key}" for key in keys), *(f"--peer-{key}" for key in keys),
        # The state goes with the cluster: nothing is lost when the machine stops.
        "--unsafe-no-fsync",
    ]  # fmt: skip


def _apiserver(folder, slot, nodes):
    pki = folder.pki
    return [
        f"--bind-address={LOCAL}", f"--secure-port={slot.port('api')}",
        f"--tls-cert-file={pki}/control-plane.crt", f"--tls-private-key-file={pki}/control-plane.key", f"--client-ca-file={pki}/ca.crt",
        f"--etcd-servers=https://{LOCAL}:{slot.port('etcd')}", f"--etcd-cafile={pki}/etcd-ca.crt",
        f"--etcd-certfile={pki}/apiserver-to-etcd.crt", f"--etcd-keyfile={pki}/apiserver-to-etcd.key",
        # Where pods find it; the link leads from there to the loopback.
        f"--advertise-address={slot.machine}", f"--endpoint-reconciler-type={'lease' if nodes else 'none'}",
        f"--service-cluster-ip-range={slot.services}",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/tokens.pub", f"--service-account-signing-key-file={pki}/tokens.key",
        f"--kubelet-certificate-authority={pki}/ca.crt", "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={pki}/apiserver-to-kubelet.crt", f"--kubelet-client-key={pki}/apiserver-to-kubelet.key",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt", "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-proxy.crt", f"--proxy-client-key-file={pki}/front-proxy.key",
        "--profiling=false",
    ]  # fmt: skip


def _controller_manager(folder, slot):
    pki = folder.pki
    return [
        *_served(folder, slot, "controller-manager"),
        "--use-service-account-credentials", f"--service-account-private-key-file={pki}/tokens.key", f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
        "--allocate-node-cidrs=false", f"--cluster-cidr={slot.pods}", f"--service-cluster-ip-range={slot.services}",
        "--horizontal-pod-autoscaler-sync-period=5s", *NODE_GRACE,
        # Its start alone makes some hundred calls, and its own limit would draw them out over seconds.
        "--kube-api-qps=500", "--kube-api-burst=1000",
    ]  # fmt: skip


def _scheduler(folder, slot):
    return _served(folder, slot, "scheduler")


def _served(folder, slot, name):
    pki = folder.pki
    return [
        f"--kubeconfig={folder.etc}/{name}.kubeconfig", "--leader-elect=false",
        f"--bind-address={LOCAL}", f"--secure-port={slot.port(name)}",
        f"--tls-cert-file={pki}/control-plane.crt", f"--tls-private-key-file={pki}/control-plane.key", "--profiling=false",
    ]  # fmt: skip
