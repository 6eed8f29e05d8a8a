"""The keys and certificates of a cluster, made by openssl, new for each cluster."""

import subprocess

from errors import Failure
from network import NODES

DAYS = "30"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
# openssl's own configuration would make every certificate an authority.
CONFIGURATION = "[req]\ndistinguished_name = name\n[name]\n"

# Who calls the API server, and what RBAC knows it as: file, organisation, name.
CALLERS = [
    ("admin", "system:masters", "slipway-tests"),
    ("addons", "system:masters", "slipway-tests-addons"),
    ("controller-manager", "", "system:kube-controller-manager"),
    ("scheduler", "", "system:kube-scheduler"),
    ("proxy", "", "system:kube-proxy"),
    *((f"node-{number}", "system:nodes", f"system:node:node-{number}") for number in range(1, NODES + 1)),
]


def make(folder, slot):
    """Makes all of them in `folder`."""
    (folder / "openssl.cnf").write_text(CONFIGURATION)
    _all(_authority(folder, name) for name in ["ca", "front-proxy-ca", "etcd-ca"])
    control_plane = [
        "IP:127.0.0.1", f"IP:{slot.machine}", f"IP:{slot.api_service}", "DNS:localhost", "DNS:kubernetes", "DNS:kubernetes.default",
        "DNS:kubernetes.default.svc", "DNS:kubernetes.default.svc.cluster.local", "DNS:metrics.kube-system.svc",
    ]  # fmt: skip
    nodes = [name for place in slot.places for name in (f"IP:{place.address}", f"DNS:{place.node}")]
    _all([
        _issued(folder, "control-plane", "ca", "/CN=kube-apiserver", control_plane),
        _issued(folder, "kubelet", "ca", "/CN=kubelet", nodes),
        _issued(folder, "apiserver-to-kubelet", "ca", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
        _issued(folder, "front-proxy", "front-proxy-ca", "/CN=front-proxy-client"),
        _issued(folder, "etcd", "etcd-ca", "/CN=etcd", ["IP:127.0.0.1"]),
        _issued(folder, "apiserver-to-etcd", "etcd-ca", "/CN=kube-apiserver"),
        *(_issued(folder, file, "ca", f"/O={group}/CN={name}" if group else f"/CN={name}") for file, group, name in CALLERS),
    ])  # fmt: skip
    _all([["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "tokens.key"]])
    _all([["openssl", "ec", "-in", folder / "tokens.key", "-pubout", "-out", folder / "tokens.pub"]])


def _request(folder, name, subject):
    out = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"]
    return ["openssl", "req", "-x509", "-config", folder / "openssl.cnf", *KEY, "-days", DAYS, "-subj", subject, *out]


def _authority(folder, name):
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"]
    return [*_request(folder, name, f"/CN={name}"), *_added(extensions)]


def _issued(folder, name, authority, subject, names=()):
    extensions = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth,serverAuth"]
    if names:
        extensions.append(f"subjectAltName={','.join(names)}")
    signed = ["-CA", folder / f"{authority}.crt", "-CAkey", folder / f"{authority}.key"]
    return [*_request(folder, name, subject), *signed, *_added(extensions)]


def _added(extensions):
    return [word for extension in extensions for word in ("-addext", extension)]


def _all(commands):
    started = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in started:
        _, told = process.communicate()
        if process.returncode != 0:
            raise Failure(f"openssl (3.0 or newer is needed): {told.strip()}")
