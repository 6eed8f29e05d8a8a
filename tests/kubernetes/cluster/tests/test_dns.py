import socket
import struct
import unittest

import dns

SERVICE = {"metadata": {"name": "server", "namespace": "check"}, "spec": {"clusterIP": "10.203.0.7"}}
PEERS = {"metadata": {"name": "peers", "namespace": "check"}, "spec": {"clusterIP": "None"}}
PART = {
    "metadata": {"namespace": "check", "labels": {"kubernetes.io/service-name": "peers"}},
    "endpoints": [
        {"addresses": ["10.202.0.2"], "hostname": "peer-0", "conditions": {"ready": True}},
        {"addresses": ["10.202.0.3"], "conditions": {"ready": False}},
    ],
}


class Recorded:
    def get(self, path):
        return {"items": [SERVICE, PEERS] if path.endswith("services") else [PART]}


def query(name, kind=dns.A):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\x12\x34" + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def read(answer):
    """The code of an answer and the addresses in it."""
    _, flags, _, count, _, _ = struct.unpack_from(">HHHHHH", answer)
    return flags & 0xF, [socket.inet_ntoa(answer[len(answer) - 16 * at :][12:16]) for at in range(count, 0, -1)]


class NamesTest(unittest.TestCase):
    def setUp(self):
        self.names = dns.Names(Recorded())
        self.names._records = dns.read_records(Recorded())

    def test_a_service_is_its_address_whatever_the_case(self):
        self.assertEqual(read(self.names.answer(query("Server.check.svc.cluster.local"))), (dns.NO_ERROR, ["10.203.0.7"]))

    def test_a_headless_service_is_its_ready_pods(self):
        self.assertEqual(read(self.names.answer(query("peers.check.svc.cluster.local"))), (dns.NO_ERROR, ["10.202.0.2"]))
        self.assertEqual(read(self.names.answer(query("peer-0.peers.check.svc.cluster.local"))), (dns.NO_ERROR, ["10.202.0.2"]))

    def test_a_name_of_elsewhere_does_not_exist(self):
        self.assertEqual(read(self.names.answer(query("example.com"))), (dns.NO_SUCH_NAME, []))

    def test_a_service_has_no_address_of_the_other_kind_and_exists_all_the_same(self):
        self.assertEqual(read(self.names.answer(query("server.check.svc.cluster.local", kind=28))), (dns.NO_ERROR, []))
