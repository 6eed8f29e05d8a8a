"""Speaks to the API server of a cluster as the cluster's own programs do: with a certificate, in JSON."""

import http.client
import json
import ssl

TIMEOUT_S = 10


class Refused(Exception):
    """The API server answered with a failure."""

    def __init__(self, path, status, body):
        super().__init__(f"{path}: {status} {body[:300]}")
        self.status = status


class Api:
    """The API server on this machine, called as the one whose certificate is `pki`/`caller`."""

    def __init__(self, pki, port, caller="admin"):
        self._address = f"127.0.0.1:{port}"
        self._tls = ssl.create_default_context(cafile=f"{pki}/ca.crt")
        self._tls.load_cert_chain(f"{pki}/{caller}.crt", f"{pki}/{caller}.key")

    def text(self, path, method="GET", body=None):
        connection = http.client.HTTPSConnection(self._address, context=self._tls, timeout=TIMEOUT_S)
        try:
            headers = {"Content-Type": "application/json", "Accept": "application/json, text/plain"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Refused(path, answer.status, text)
        return text

    def get(self, path):
        return json.loads(self.text(path))

    def create(self, path, thing):
        return json.loads(self.text(path, "POST", thing))

    def answers(self, path):
        """Whether the path is answered, with success."""
        try:
            self.text(path)
        except (OSError, http.client.HTTPException, Refused):
            return False
        return True
