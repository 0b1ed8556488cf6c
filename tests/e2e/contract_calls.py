"""One call for every operation of Docker's API description, and what must come back.

Words in braces are objects that ``contract_world`` makes for the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from e2e.contract_world import tar_of

UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}
NOWHERE = "127.0.0.1:9"
"""A registry that refuses connections."""


class Call(NamedTuple):
    """``path`` with its query; ``status`` is what a correct engine answers."""

    path: str
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = {}


CONTEXT = tar_of(Dockerfile=b"FROM busybox\nLABEL contract=1\nRUN echo built >/built\n")
LABELS = {"Labels": {"contract": "1"}}
JOIN = {"Container": "{running}", "EndpointConfig": {"Aliases": ["a"]}}
LEAVE = {"Container": "{member}"}

CONTAINERS = {
    "GET /containers/json": Call("/containers/json?all=1&size=1"),
    "POST /containers/create": Call("/containers/create?name={fresh}", 201, {
        "Image": "busybox", "Labels": {"contract": "1"}, "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"Memory": 64 << 20, "Binds": ["{volume}:/v"]},
    }),
    "GET /containers/{id}/json": Call("/containers/{running}/json?size=1"),
    "GET /containers/{id}/top": Call("/containers/{running}/top"),
    "GET /containers/{id}/logs": Call("/containers/{exited}/logs?stdout=1&stderr=1"),
    "GET /containers/{id}/changes": Call("/containers/{exited}/changes"),
    "GET /containers/{id}/export": Call("/containers/{exited}/export"),
    "GET /containers/{id}/stats": Call("/containers/{running}/stats?stream=0&one-shot=1"),
    "POST /containers/{id}/resize": Call("/containers/{running}/resize?h=20&w=80"),
    "POST /containers/{id}/start": Call("/containers/{created}/start", 204),
    "POST /containers/{id}/stop": Call("/containers/{running}/stop?t=5", 204),
    "POST /containers/{id}/restart": Call("/containers/{running}/restart?t=5", 204),
    "POST /containers/{id}/kill": Call("/containers/{running}/kill?signal=KILL", 204),
    "POST /containers/{id}/update": Call("/containers/{running}/update", 200, {"PidsLimit": 99}),
    "POST /containers/{id}/rename": Call("/containers/{created}/rename?name={fresh}", 204),
    "POST /containers/{id}/pause": Call("/containers/{running}/pause", 204),
    "POST /containers/{id}/unpause": Call("/containers/{paused}/unpause", 204),
    "POST /containers/{id}/attach": Call(
        "/containers/{exited}/attach?logs=1&stdout=1", 101, None, UPGRADE
    ),
    "POST /containers/{id}/wait": Call("/containers/{exited}/wait"),
    "DELETE /containers/{id}": Call("/containers/{running}?force=1&v=1", 204),
    "HEAD /containers/{id}/archive": Call("/containers/{created}/archive?path=/etc"),
    "GET /containers/{id}/archive": Call("/containers/{created}/archive?path=/etc/passwd"),
    "PUT /containers/{id}/archive": Call(
        "/containers/{created}/archive?path=/tmp", 200, tar_of(a=b"1")
    ),
    "POST /containers/prune": Call('/containers/prune?filters={"label":["none-such"]}'),
    "POST /containers/{id}/exec": Call("/containers/{running}/exec", 201, {"Cmd": ["true"]}),
    "POST /exec/{id}/start": Call("/exec/{exec}/start", 200, {"Detach": False}),
    "POST /exec/{id}/resize": Call("/exec/{terminal}/resize?h=9&w=9"),
    "GET /exec/{id}/json": Call("/exec/{exec}/json"),
    "POST /commit": Call("/commit?container={exited}&repo=cw-commit&tag=1&comment=c", 201, {}),
}  # fmt: skip

IMAGES = {
    "GET /images/json": Call("/images/json?all=1&shared-size=1"),
    "POST /build": Call("/build?t=cw-build:1&rm=1", 200, CONTEXT),
    "POST /build/prune": Call('/build/prune?filters={"until":["2000-01-01"]}'),
    "POST /images/create": Call(
        "/images/create?fromSrc=-&repo=cw-import&tag=1", 200, tar_of(a=b"1")
    ),
    "GET /images/{name}/json": Call("/images/{image}/json"),
    "GET /images/{name}/history": Call("/images/{image}/history"),
    "POST /images/{name}/push": Call(f"/images/{NOWHERE}/cw-none/push?tag=1"),
    "POST /images/{name}/tag": Call("/images/{image}/tag?repo=cw-tag&tag=2", 201),
    "DELETE /images/{name}": Call("/images/{image}"),
    "POST /images/prune": Call('/images/prune?filters={"label":["none-such"]}'),
    "GET /images/{name}/get": Call("/images/{image}/get"),
    "GET /images/get": Call("/images/get?names={image}"),
    "POST /images/load": Call("/images/load", 200, tar_of(a=b"1")),
}

ENGINE = {
    "POST /auth": Call("/auth", 503, {"username": "a", "password": "b", "serveraddress": NOWHERE}),
    "GET /images/search": Call(f"/images/search?term={NOWHERE}/x", 503),
    "GET /distribution/{name}/json": Call(f"/distribution/{NOWHERE}/x/json", 503),
    "GET /info": Call("/info"),
    "GET /version": Call("/version"),
    "GET /_ping": Call("/_ping"),
    "HEAD /_ping": Call("/_ping"),
    "GET /events": Call("/events?since=1&until=2"),
    "GET /system/df": Call("/system/df"),
    "GET /volumes": Call("/volumes"),
    "POST /volumes/create": Call("/volumes/create", 201, {"Name": "{fresh}", **LABELS}),
    "GET /volumes/{name}": Call("/volumes/{volume}"),
    "DELETE /volumes/{name}": Call("/volumes/{volume}", 204),
    "POST /volumes/prune": Call('/volumes/prune?filters={"label":["none-such"]}'),
    "GET /networks": Call("/networks"),
    "GET /networks/{id}": Call("/networks/{network}"),
    "DELETE /networks/{id}": Call("/networks/{network}", 204),
    "POST /networks/create": Call("/networks/create", 201, {"Name": "{fresh}", **LABELS}),
    "POST /networks/prune": Call('/networks/prune?filters={"label":["none-such"]}'),
    "GET /plugins": Call("/plugins"),
    "POST /session": Call("/session", 400),  # without its upgrade
}  # fmt: skip

NOT_SUPPORTED = {
    "POST /networks/{id}/connect": Call("/networks/{network}/connect", 501, JOIN),
    "POST /networks/{id}/disconnect": Call("/networks/{joined}/disconnect", 501, LEAVE),
    "GET /plugins/privileges": Call("/plugins/privileges?remote=x", 501),
    "POST /plugins/pull": Call("/plugins/pull?remote=x", 501, []),
    "POST /plugins/create": Call("/plugins/create?name=x", 501, tar_of()),
    "POST /swarm/init": Call("/swarm/init", 501, {}),
    "POST /swarm/join": Call("/swarm/join", 501, {}),
}
"""What answers 501: README lists exactly these."""

NOT_CALLED = {
    "GET /images/{name}/attestations": "since API 1.55",
    "GET /containers/{id}/attach/ws": "a websocket, with tests of its own",
}

_PLUGIN_VERBS = ("enable", "disable", "upgrade", "push", "set")
NO_PLUGINS = {
    "GET /plugins/{name}/json": Call("/plugins/x/json", 404),
    "DELETE /plugins/{name}": Call("/plugins/x", 404),
    **{f"POST /plugins/{{name}}/{verb}": Call(f"/plugins/x/{verb}", 404) for verb in _PLUGIN_VERBS},
}

_SWARM_VERBS = ("leave", "update", "unlock")
_KINDS = ("nodes", "services", "tasks", "secrets", "configs")
NO_SWARM = {
    "PUT /volumes/{name}": Call("/volumes/{volume}?version=1", 503, {}),
    "GET /swarm": Call("/swarm", 503),
    "GET /swarm/unlockkey": Call("/swarm/unlockkey", 503),
    **{f"POST /swarm/{verb}": Call(f"/swarm/{verb}", 503, {}) for verb in _SWARM_VERBS},
    **{f"GET /{kind}": Call(f"/{kind}", 503) for kind in _KINDS},
    **{f"GET /{kind}/{{id}}": Call(f"/{kind}/x", 503) for kind in _KINDS},
    **{f"DELETE /{kind}/{{id}}": Call(f"/{kind}/x", 503) for kind in _KINDS if kind != "tasks"},
    **{
        f"POST /{kind}/{{id}}/update": Call(f"/{kind}/x/update?version=1", 503, {})
        for kind in _KINDS
        if kind != "tasks"
    },
    **{
        f"POST /{kind}/create": Call(f"/{kind}/create", 503, {})
        for kind in _KINDS
        if kind not in ("tasks", "nodes")
    },
    **{f"GET /{kind}/{{id}}/logs": Call(f"/{kind}/x/logs", 503) for kind in ("services", "tasks")},
}  # fmt: skip

CALLS = {**CONTAINERS, **IMAGES, **ENGINE, **NOT_SUPPORTED, **NO_PLUGINS, **NO_SWARM}
