use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

fn document() -> Value {
    json!({
        "apiVersion": "slipway.dev/v1",
        "kind": "Site",
        "metadata": { "name": "lab" },
        "spec": {
            "domain": "lab.internal",
            "nameservers": ["10.10.0.1"],
            "networks": {
                "machines": { "block": "10.10.0.0/24", "gateway": "10.10.0.1" },
                "storage": { "block": "10.20.0.0/24", "vlan": 20, "mtu": 9000 },
            },
            "zones": { "administrators": ["192.168.7.0/24"], "clients": ["0.0.0.0/0"] },
            "vpn": {
                "block": "10.99.0.0/24",
                "peers": [{ "name": "ada", "publicKey": format!("{}=", "A".repeat(43)), "address": "10.99.0.100" }],
            },
            "kubernetes": { "version": "1.33.2", "endpoint": "10.10.0.10" },
            "hosts": [host(1, "control-plane"), host(2, "control-plane"), host(3, "control-plane"), host(4, "worker")],
        },
    })
}

fn host(n: u8, role: &str) -> Value {
    json!({
        "name": format!("h{n}"),
        "role": role,
        "interfaces": [
            { "name": "eno1", "network": "machines", "address": format!("10.10.0.{}", 10 + n) },
            { "name": "eno1", "network": "storage", "address": format!("10.20.0.{}", 10 + n) },
        ],
    })
}

fn site() -> Site {
    Site::read(&document()).unwrap()
}

fn planned(site: &Site) -> Files {
    plan(site).unwrap()
}

#[test]
fn a_host_has_its_addresses_names_and_ways_and_no_other_ones() {
    let files = planned(&site());
    let wire = &files["hosts/h1/etc/systemd/network/10-slipway-eno1.network"];
    for line in ["Address=10.10.0.11/24", "Gateway=10.10.0.1", "DNS=10.10.0.1", "VLAN=eno1.20", "MTUBytes=9000"] {
        assert!(wire.contains(line), "{line}: {wire}");
    }
    let tagged = &files["hosts/h1/etc/systemd/network/10-slipway-eno1.20.network"];
    assert!(tagged.contains("Address=10.20.0.11/24") && !tagged.contains("Gateway"), "{tagged}");
    assert!(files["hosts/h1/etc/systemd/network/10-slipway-eno1.20.netdev"].contains("Id=20"));
    let names = &files["hosts/h4/etc/hosts"];
    assert!(
        names.contains("10.10.0.12 h2.lab.internal h2\n") && names.contains("10.10.0.10 api.lab.internal"),
        "{names}"
    );
}

#[test]
fn the_first_control_plane_makes_the_cluster_and_all_others_join_it() {
    let files = planned(&site());
    let init = &files["hosts/h1/etc/slipway/init.yaml"];
    let documents: Vec<Value> = init.split("---\n").map(|text| serde_norway::from_str(text).unwrap()).collect();
    let kinds: Vec<&str> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["InitConfiguration", "ClusterConfiguration", "KubeletConfiguration"]);
    assert_eq!(documents[1]["controlPlaneEndpoint"], "10.10.0.10:6443");
    let names = documents[1]["apiServer"]["certSANs"].as_array().unwrap();
    assert!(names.contains(&json!("h3.lab.internal")) && names.contains(&json!("10.99.0.1")), "{names:?}");
    for (host, is_plane) in [("h2", true), ("h3", true), ("h4", false)] {
        let join: Value = serde_norway::from_str(&files[&format!("hosts/{host}/etc/slipway/join.yaml")]).unwrap();
        assert_eq!(join["controlPlane"].is_object(), is_plane, "{host}");
        assert_eq!(join["nodeRegistration"]["taints"].as_array().unwrap().is_empty(), !is_plane, "{host}");
        assert!(!files.contains_key(&format!("hosts/{host}/etc/slipway/init.yaml")));
    }
}

#[test]
fn the_kubelet_asks_the_runtime_that_the_site_names() {
    for (name, socket) in [
        (Value::Null, "unix:///run/containerd/containerd.sock"),
        (json!("containerd"), "unix:///run/containerd/containerd.sock"),
        (json!("cri-o"), "unix:///run/crio/crio.sock"),
    ] {
        let mut document = document();
        let kubernetes = document["spec"]["kubernetes"].as_object_mut().unwrap();
        kubernetes.extend((!name.is_null()).then(|| ("runtime".to_owned(), name)));
        let files = planned(&Site::read(&document).unwrap());
        for file in
            ["hosts/h1/etc/slipway/init.yaml", "hosts/h2/etc/slipway/join.yaml", "hosts/h4/etc/slipway/join.yaml"]
        {
            assert!(files[file].contains(&format!("criSocket: {socket}")), "{}", files[file]);
        }
    }
}

#[test]
fn where_there_is_no_worker_pods_run_on_the_control_planes() {
    let mut document = document();
    document["spec"]["hosts"] = json!([host(1, "control-plane")]);
    document["spec"]["kubernetes"]["endpoint"] = Value::Null;
    let files = planned(&Site::read(&document).unwrap());
    let init = &files["hosts/h1/etc/slipway/init.yaml"];
    let first: Value = serde_norway::from_str(init.split("---\n").next().unwrap()).unwrap();
    assert_eq!(first["nodeRegistration"]["taints"], json!([]));
    assert!(init.contains("controlPlaneEndpoint: 10.10.0.11:6443"), "{init}");
    assert!(!files.keys().any(|path| path.ends_with("keepalived.conf")));
}

#[test]
fn the_address_of_several_control_planes_is_taken_by_one_after_the_other() {
    let files = planned(&site());
    for (host, priority) in [("h1", 100), ("h2", 99), ("h3", 98)] {
        let text = &files[&format!("hosts/{host}/etc/keepalived/keepalived.conf")];
        assert!(text.contains(&format!("priority {priority}")) && text.contains("10.10.0.10/24"), "{text}");
    }
    assert!(!files.contains_key("hosts/h4/etc/keepalived/keepalived.conf"));
}

#[test]
fn only_control_planes_let_machines_to_the_api_server_and_each_other_to_etcd() {
    let files = planned(&site());
    let (plane, worker) = (&files["hosts/h1/etc/slipway/firewall.nft"], &files["hosts/h4/etc/slipway/firewall.nft"]);
    assert!(plane.contains("ip saddr @control_planes tcp dport 2379-2380 accept"), "{plane}");
    assert!(!worker.contains("6443") && !worker.contains("2379"), "{worker}");
    for rules in [plane, worker] {
        assert!(rules.matches("policy drop").count() == 2, "{rules}");
        assert!(rules.contains("elements = { 192.168.7.0/24, 10.99.0.100/32 }"), "{rules}");
        let (forged, let_in) = (rules.find("ip saddr 10.99.0.0/24 drop"), rules.find("ip saddr @administrators"));
        assert!(forged.unwrap() < let_in.unwrap(), "who only says that he came by the tunnel is let in: {rules}");
    }
}

#[test]
fn what_a_site_cannot_be_is_named_by_path() {
    type Change = fn(&mut Value);
    let cases: Vec<(&str, Change)> = vec![
        ("apiVersion", |d| d["apiVersion"] = json!("v2")),
        ("metadata.name", |d| d["metadata"]["name"] = json!("Lab")),
        ("spec.domain", |d| d["spec"]["domain"] = json!("lab..internal")),
        ("spec.nameservers", |d| d["spec"]["nameservers"] = json!([])),
        ("spec.networks", |d| d["spec"]["networks"]["machines"]["gateway"] = Value::Null),
        ("spec.networks.machines.gateway", |d| d["spec"]["networks"]["machines"]["gateway"] = json!("10.10.0.255")),
        ("spec.networks.machines.block", |d| d["spec"]["networks"]["machines"]["block"] = json!("10.10.0.1/24")),
        ("spec.networks.storage.vlan", |d| d["spec"]["networks"]["storage"]["vlan"] = json!(4095)),
        ("spec.networks.storage.mtu", |d| d["spec"]["networks"]["storage"]["mtu"] = json!(100)),
        ("spec.networks.storage.block", |d| d["spec"]["networks"]["storage"]["block"] = json!("10.10.0.128/25")),
        ("spec.zones.administrators", |d| d["spec"]["zones"]["administrators"] = json!([])),
        ("spec.zones.administrators[0]", |d| d["spec"]["zones"]["administrators"] = json!(["0.0.0.0/0"])),
        ("spec.zones.clientPorts[1]", |d| d["spec"]["zones"]["clientPorts"] = json!([80, 6443])),
        ("spec.vpn.block", |d| d["spec"]["vpn"]["block"] = json!("10.99.0.96/30")),
        ("spec.vpn.peers[0].publicKey", |d| d["spec"]["vpn"]["peers"][0]["publicKey"] = json!("short")),
        ("spec.vpn.peers[0].address", |d| d["spec"]["vpn"]["peers"][0]["address"] = json!("10.99.0.2")),
        ("spec.kubernetes.version", |d| d["spec"]["kubernetes"]["version"] = json!("1.30.2")),
        ("spec.kubernetes.version", |d| d["spec"]["kubernetes"]["version"] = json!("1.33")),
        ("spec.kubernetes.runtime", |d| d["spec"]["kubernetes"]["runtime"] = json!("docker")),
        ("spec.kubernetes.network", |d| d["spec"]["kubernetes"]["network"] = json!("none")),
        ("spec.kubernetes.endpoint", |d| d["spec"]["kubernetes"]["endpoint"] = Value::Null),
        ("spec.kubernetes.endpoint", |d| d["spec"]["kubernetes"]["endpoint"] = json!("10.10.0.11")),
        ("spec.kubernetes.pods", |d| d["spec"]["kubernetes"]["pods"] = json!("10.244.0.0/26")),
        ("spec.kubernetes.services", |d| d["spec"]["kubernetes"]["services"] = json!("10.244.0.0/20")),
        ("spec.hosts", |d| d["spec"]["hosts"][2]["role"] = json!("worker")),
        ("spec.hosts[3].name", |d| d["spec"]["hosts"][3]["name"] = json!("h1")),
        ("spec.hosts[3].interfaces[0].address", |d| {
            d["spec"]["hosts"][3]["interfaces"][0]["address"] = json!("10.10.0.11");
        }),
        ("spec.hosts[3].interfaces[0].address", |d| {
            d["spec"]["hosts"][3]["interfaces"][0]["address"] = json!("10.10.0.1");
        }),
        ("spec.hosts[3].interfaces[0].name", |d| d["spec"]["hosts"][3]["interfaces"][0]["name"] = json!("eth 0")),
        ("spec.hosts[3].interfaces[1].name", |d| {
            d["spec"]["hosts"][3]["interfaces"][1]["name"] = json!("enp134s0f1np1");
        }),
        ("spec.hosts[3].interfaces[1].network", |d| d["spec"]["hosts"][3]["interfaces"][1]["network"] = json!("none")),
        ("spec.hosts[3].interfaces", |d| d["spec"]["hosts"][3]["interfaces"][0]["network"] = json!("storage")),
        ("spec.hosts[3].reachedAt", |d| d["spec"]["hosts"][3]["reachedAt"] = json!("{{ lookup('pipe', 'id') }}")),
        ("spec.hosts[3].taints[0].effect", |d| {
            d["spec"]["hosts"][3]["taints"] = json!([{ "key": "a", "effect": "Never" }]);
        }),
        ("spec.hosts[3].storage.devices", |d| {
            d["spec"]["hosts"][3]["storage"] = json!({ "devices": ["/dev/sdb"], "layout": "raid1" });
        }),
        ("spec.hosts[3].storage.devices[0]", |d| {
            d["spec"]["hosts"][3]["storage"] = json!({ "devices": ["/etc/shadow"] });
        }),
        ("spec.hosts[3].storage.mount", |d| {
            d["spec"]["hosts"][3]["storage"] = json!({ "devices": ["/dev/sdb"], "mount": "/etc" });
        }),
        ("spec.hosts[3]", |d| d["spec"]["hosts"][3]["rack"] = json!(7)),
    ];
    for (path, change) in cases {
        let mut changed = document();
        change(&mut changed);
        let refused = Site::read(&changed).expect_err(path);
        assert!(refused.0.iter().any(|refusal| refusal.path.starts_with(path)), "{path}: {refused}");
    }
    let mut secret = document();
    secret["spec"]["vpn"]["peers"][0]["publicKey"] = json!("a-private-key");
    assert!(!Site::read(&secret).unwrap_err().to_string().contains("a-private-key"));
}

proptest! {
    #[test]
    fn every_address_is_in_one_place_and_every_host_in_the_inventory(
        planes in proptest::sample::select(vec![1_u8, 3, 5]), workers in 0_u8..40,
    ) {
        let hosts: Vec<Value> =
            (1..=planes).map(|n| host(n, "control-plane")).chain((planes + 1..=planes + workers).map(|n| host(n, "worker"))).collect();
        let mut document = document();
        document["spec"]["hosts"] = json!(hosts);
        let site = Site::read(&document).unwrap();
        let files = planned(&site);
        prop_assert_eq!(&files, &planned(&site));
        let mut seen = std::collections::BTreeSet::new();
        for (path, text) in &files {
            for line in text.lines().filter_map(|line| line.strip_prefix("Address=")) {
                let address: Ipv4Addr = line.split('/').next().unwrap().parse().unwrap();
                prop_assert!(seen.insert(address), "{} twice: {}", address, path);
            }
        }
        let inventory: Value = serde_norway::from_str(&files["inventory.yaml"]).unwrap();
        let count = |group: &str| inventory["all"]["children"][group]["hosts"].as_object().unwrap().len();
        prop_assert_eq!((count("control_planes"), count("workers")), (usize::from(planes), usize::from(workers)));
        let made = files.keys().filter(|path| path.ends_with("init.yaml")).count();
        let joined = files.keys().filter(|path| path.ends_with("join.yaml")).count();
        prop_assert_eq!((made, joined), (1, usize::from(planes + workers) - 1));
    }
}
