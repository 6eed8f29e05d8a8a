"""What the programs of the node read: containerd, its network plugins, the kubelet and kube-proxy. Paths are those inside the node,
where the run folder is /run/slipway and the node's own folder /run/slipway-node."""

import json

from control_plane import kubeconfig

HOME = "/run/slipway-node"
KEYS = "/run/slipway/pki"
SOCKET = "/run/containerd/containerd.sock"
PAUSE = "localhost/pause:1"


def write(folder, place, plugins):
    """Writes them all. `plugins` is where this machine has its network plugins."""
    own = folder.nodes / place.node
    (own / "cni").mkdir(parents=True, exist_ok=True)
    (own / "resolv.conf").write_text("")
    (own / "containerd.toml").write_text(_containerd(plugins))
    for name, content in [
        ("cni/10-bridge.conflist", _network(place)),
        ("kubelet.json", _kubelet(place)),
        ("kube-proxy.json", _proxy(place)),
    ]:
        (own / name).write_text(json.dumps(content, indent=1))
    for caller in [place.node, "proxy"]:
        kubeconfig(folder, place.slot, caller, place.slot.machine, KEYS)


def _containerd(plugins):
    return f"""version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{HOME}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def _network(place):
    addresses = {"type": "host-local", "dataDir": "/run/addresses", "ranges": [[{"subnet": place.pods}]]}
    bridge = {"type": "bridge", "bridge": "pods", "isDefaultGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _kubelet(place):
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": place.address,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": f"{KEYS}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{KEYS}/kubelet.crt",
        "tlsPrivateKeyFile": f"{KEYS}/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.name}",
        # Machines with the older kind of cgroups carry tests too.
        "failCgroupV1": False,
        "failSwapOn": False,
        "resolvConf": f"{HOME}/resolv.conf",
        "clusterDomain": "cluster.local",
        "clusterDNS": [place.slot.dns_service],
        "maxPods": 60,
        # A quarter of the lease passes between two signs of life; the control plane waits 12 s for one.
        "nodeLeaseDurationSeconds": 8,
        "nodeStatusUpdateFrequency": "3s",
        "syncFrequency": "10s",
        # It may score its own processes no lower than it was scored itself, where the machine's root is not a real one.
        "oomScoreAdj": 0,
        # The machine's disk may be as full as its owner likes.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
        "imageGCHighThresholdPercent": 100,
    }


def _proxy(place):
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": "/run/slipway/etc/proxy.kubeconfig"},
        "clusterCIDR": place.slot.pods,
        "hostnameOverride": place.node,
        "bindAddress": place.address,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # How many connections are tracked is the machine's to say.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
