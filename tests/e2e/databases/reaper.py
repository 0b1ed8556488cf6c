"""What testcontainers calls Ryuk: removes what bears a label when the client that named it is gone.

Speaks the protocol of testcontainers' reaper: lines ``label=KEY=VALUE``, each answered by ``ACK``.
"""

import http.client
import json
import socket
import time
from urllib.parse import quote


class Engine(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")

    def ask(self, method, path):
        self.request(method, path)
        answer = self.getresponse()
        body = answer.read()
        return json.loads(body) if body else None


def reap(label):
    filters = quote(json.dumps({"label": [label]}))
    for container in Engine("docker").ask("GET", f"/containers/json?all=1&filters={filters}"):
        Engine("docker").ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")


server = socket.create_server(("0.0.0.0", 8080))
print("Reaper Started!")
client, _ = server.accept()
labels = []
try:
    for line in client.makefile():
        labels.append(line.strip().removeprefix("label="))
        client.sendall(b"ACK\n")
except ConnectionResetError:
    pass  # it was killed before it read what we said
time.sleep(0.1)
for label in labels:
    reap(label)
