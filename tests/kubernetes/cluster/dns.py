#!/usr/bin/env python3
"""The names of a cluster's services, for the programs in its pods: `dns.py PKI API-PORT PORT`, on 127.0.0.1, over UDP and TCP.

Knows services with an address, services without one and their pods. Any other name does not exist: nothing asks further.
"""

import socket
import socketserver
import struct
import sys
import threading
import time

from api import Api

ZONE = ".svc.cluster.local"
REFRESH_S = 0.5
# What is told is half a second old at most; who keeps it longer sees pods that are gone.
TTL_S = 2
A, CLASS_IN = 1, 1
NO_ERROR, NO_SUCH_NAME = 0, 3
ANSWER, AUTHORITATIVE, RECURSION = 0x8000, 0x0400, 0x0180


def read_records(api):
    """Every name and its addresses, as the API server tells them."""
    records, headless = {}, set()
    for service in api.get("/api/v1/services")["items"]:
        name = f"{service['metadata']['name']}.{service['metadata']['namespace']}{ZONE}"
        address = service["spec"].get("clusterIP")
        if address == "None":
            headless.add(name)
        if address:
            records[name] = [] if address == "None" else [address]
    for part in api.get("/apis/discovery.k8s.io/v1/endpointslices")["items"]:
        owner = part["metadata"].get("labels", {}).get("kubernetes.io/service-name")
        name = f"{owner}.{part['metadata']['namespace']}{ZONE}"
        for endpoint in part.get("endpoints") or [] if name in headless else []:
            if endpoint.get("conditions", {}).get("ready") is not False:
                records[name] += endpoint["addresses"]
                if host := endpoint.get("hostname"):
                    records.setdefault(f"{host}.{name}", []).extend(endpoint["addresses"])
    return records


class Names:
    """The records, read again and again."""

    def __init__(self, api):
        self._api, self._records = api, {}

    def follow(self):
        while True:
            try:
                self._records = read_records(self._api)
            except Exception as error:  # The API server may be gone for a while; the last records stand.
                print(f"reading services: {error}", file=sys.stderr, flush=True)
            time.sleep(REFRESH_S)

    def answer(self, query):
        """The answer to one question; raises on what is no question."""
        at, labels = 12, []
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode().lower())
            at += length + 1
        end = at + 5
        (kind,) = struct.unpack_from(">H", query, at + 1)
        addresses = self._records.get(".".join(labels))
        told = addresses if addresses and kind == A else []
        flags = ANSWER | AUTHORITATIVE | RECURSION | (NO_SUCH_NAME if addresses is None else NO_ERROR)
        # Each answer points back to the name in the question, at byte 12.
        parts = [struct.pack(">HHHIH", 0xC00C, A, CLASS_IN, TTL_S, 4) + socket.inet_aton(address) for address in told]
        return query[:2] + struct.pack(">HHHHH", flags, 1, len(parts), 0, 0) + query[12:end] + b"".join(parts)


def serve(names, port):
    class Datagram(socketserver.BaseRequestHandler):
        def handle(self):
            query, out = self.request
            out.sendto(names.answer(query), self.client_address)

    class Stream(socketserver.StreamRequestHandler):
        timeout = 5

        def handle(self):
            while len(head := self.rfile.read(2)) == 2:
                answer = names.answer(self.rfile.read(int.from_bytes(head)))
                self.wfile.write(len(answer).to_bytes(2) + answer)

    class Tcp(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    here = ("127.0.0.1", port)
    threading.Thread(target=Tcp(here, Stream).serve_forever, daemon=True).start()
    socketserver.UDPServer(here, Datagram).serve_forever()


def main():
    pki, api_port, port = sys.argv[1:]
    names = Names(Api(pki, api_port, "addons"))
    threading.Thread(target=names.follow, daemon=True).start()
    serve(names, int(port))


if __name__ == "__main__":
    main()
