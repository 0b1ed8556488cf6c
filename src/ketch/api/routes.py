"""The route table: every method and path of the Engine API that ketch answers."""

from __future__ import annotations

from ketch.api.resources import (
    beyond,
    build,
    build_by_session,
    build_history,
    build_offers,
    container_files,
    container_io,
    containers,
    distribution,
    events,
    execs,
    image_archives,
    image_transfer,
    images,
    networks,
    stats,
    swarm,
    system,
    upgrades,
    volumes,
    websocket,
)
from ketch.api.routing import Route

_SYSTEM = (
    Route("GET", "/_ping", system.ping, unversioned=True),
    Route("HEAD", "/_ping", system.ping, unversioned=True),
    Route("GET", "/version", system.version),
    Route("GET", "/info", system.info),
    Route("GET", "/system/df", system.disk_usage),
    Route("GET", "/events", events.stream, streams=True),
    Route("POST", "/auth", distribution.auth),
    Route("GET", "/distribution/{name}/json", distribution.inspect),
)

_CONTAINERS = (
    Route("GET", "/containers/json", containers.list_),
    Route("POST", "/containers/create", containers.create, options=True),
    Route("POST", "/containers/prune", containers.prune),
    Route("GET", "/containers/{id}/json", containers.inspect),
    Route("POST", "/containers/{id}/start", containers.start, options=True),
    Route("POST", "/containers/{id}/stop", containers.stop),
    Route("POST", "/containers/{id}/restart", containers.restart),
    Route("POST", "/containers/{id}/kill", containers.kill),
    Route("POST", "/containers/{id}/pause", containers.pause),
    Route("POST", "/containers/{id}/unpause", containers.unpause),
    Route("POST", "/containers/{id}/rename", containers.rename),
    Route("POST", "/containers/{id}/update", containers.update, options=True),
    Route("GET", "/containers/{id}/checkpoints", swarm.no_checkpoints),
    Route("POST", "/containers/{id}/checkpoints", swarm.no_checkpoints),
    Route("DELETE", "/containers/{id}/checkpoints/{checkpoint}", swarm.no_checkpoints),
    Route("DELETE", "/containers/{id}", containers.remove),
    Route("GET", "/containers/{id}/top", containers.top),
    Route("GET", "/containers/{id}/stats", stats.stats, streams=True),
    Route("GET", "/containers/{id}/changes", containers.changes),
    Route("POST", "/containers/{id}/attach", container_io.attach, plain_errors=True),
    Route("GET", "/containers/{id}/attach/ws", websocket.attach, streams=True),
    Route("POST", "/containers/{id}/wait", container_io.wait, streams=True),
    Route("GET", "/containers/{id}/logs", container_io.logs, streams=True, finite=True),
    Route("POST", "/containers/{id}/resize", container_io.resize),
    Route("HEAD", "/containers/{id}/archive", container_files.stat),
    Route("GET", "/containers/{id}/archive", container_files.get, streams=True, finite=True),
    Route("PUT", "/containers/{id}/archive", container_files.put, streams=True),
    Route("GET", "/containers/{id}/export", container_files.export, streams=True, finite=True),
    Route("POST", "/commit", container_files.commit),
    Route("POST", "/containers/{id}/exec", execs.create, options=True),
    Route("POST", "/exec/{id}/start", execs.start),
    Route("POST", "/exec/{id}/resize", execs.resize),
    Route("GET", "/exec/{id}/json", execs.inspect),
)

_IMAGES = (
    Route("GET", "/images/json", images.list_),
    Route("GET", "/images/search", distribution.search),
    Route("GET", "/images/get", image_archives.save, streams=True, finite=True),
    Route("POST", "/images/load", image_archives.load, streams=True),
    Route("POST", "/images/create", image_transfer.create, streams=True),
    Route("POST", "/images/prune", images.prune),
    Route("GET", "/images/{name}/json", images.inspect),
    Route("GET", "/images/{name}/history", images.history),
    Route("GET", "/images/{name}/get", image_archives.save, streams=True, finite=True),
    Route("POST", "/images/{name}/tag", images.tag),
    Route("POST", "/images/{name}/push", image_transfer.push, streams=True),
    Route("DELETE", "/images/{name}", images.remove),
    Route("POST", "/build", build.build, streams=True),
    Route("POST", "/build/prune", build.prune),
    Route("POST", "/build/cancel", build_by_session.cancel),
    Route("POST", "/grpc", upgrades.grpc),
    Route("POST", "/session", upgrades.session),
)

_VOLUMES = (
    Route("GET", "/volumes", volumes.list_),
    Route("POST", "/volumes/create", volumes.create, options=True),
    Route("POST", "/volumes/prune", volumes.prune),
    Route("GET", "/volumes/{name}", volumes.inspect),
    Route("DELETE", "/volumes/{name}", volumes.remove),
)

_NETWORKS = (
    Route("GET", "/networks", networks.list_),
    Route("POST", "/networks/create", networks.create, options=True),
    Route("POST", "/networks/prune", networks.prune),
    Route("GET", "/networks/{id}", networks.inspect),
    Route("DELETE", "/networks/{id}", networks.remove),
    Route("POST", "/networks/{id}/connect", networks.connect),
    Route("POST", "/networks/{id}/disconnect", networks.disconnect),
)

_BEYOND = (  # what Docker's API does not have: docs/beyond.md
    Route("GET", "/ketch/containers/{id}/why", beyond.why),
    Route("POST", "/ketch/containers/{id}/rerun", beyond.rerun),
    Route("GET", "/ketch/containers/{id}/execs", beyond.list_execs),
    Route("POST", "/ketch/exec/{id}/kill", beyond.kill_exec),
    Route("GET", "/ketch/builds", build_history.list_),
    Route("POST", "/ketch/builds/prune", build_history.prune),
    Route("POST", "/ketch/builds/offers", build_offers.leave),
    Route("POST", "/ketch/builds/offers/{id}/agent", build_offers.agent),
    Route("GET", "/ketch/builds/offers/{id}/output", build_offers.output),
    Route("PUT", "/ketch/builds/offers/{id}/layout", build_offers.layout),
    Route("GET", "/ketch/builds/offers/{id}/demands", build_offers.demands, streams=True),
    Route("PUT", "/ketch/builds/offers/{id}/context", build_offers.context, streams=True),
    Route("GET", "/ketch/builds/{id}/events", build_history.events),
    Route("GET", "/ketch/builds/{id}", build_history.inspect),
    Route("DELETE", "/ketch/builds/{id}", build_history.remove),
)

_SWARM_OBJECTS = ("nodes", "services", "tasks", "secrets", "configs")

_NOT_HERE = (
    Route("GET", "/plugins", swarm.no_plugins),
    Route("POST", "/plugins/create", swarm.no_plugin_installs),
    Route("POST", "/plugins/pull", swarm.no_plugin_installs),
    Route("GET", "/plugins/privileges", swarm.no_plugin_installs),
    Route("GET", "/plugins/{name}/json", swarm.plugin_missing),
    Route("DELETE", "/plugins/{name}", swarm.plugin_missing),
    *(
        Route("POST", f"/plugins/{{name}}/{verb}", swarm.plugin_missing)
        for verb in ("enable", "disable", "upgrade", "push", "set")
    ),
    Route("PUT", "/volumes/{name}", swarm.not_a_manager, since=(1, 42)),
    Route("GET", "/swarm", swarm.not_a_manager),
    Route("GET", "/swarm/unlockkey", swarm.not_a_manager),
    *(
        Route("POST", f"/swarm/{verb}", swarm.not_a_manager)
        for verb in ("leave", "update", "unlock")
    ),
    Route("POST", "/swarm/init", swarm.no_swarm),
    Route("POST", "/swarm/join", swarm.no_swarm),
    *(
        Route(method, path, swarm.not_a_manager)
        for kind in _SWARM_OBJECTS
        for method, path in (
            ("GET", f"/{kind}"),
            ("POST", f"/{kind}/create"),
            ("GET", f"/{kind}/{{id}}"),
            ("DELETE", f"/{kind}/{{id}}"),
            ("POST", f"/{kind}/{{id}}/update"),
        )
    ),
)

ROUTES: tuple[Route, ...] = (
    *_SYSTEM,
    *_CONTAINERS,
    *_IMAGES,
    *_VOLUMES,
    *_NETWORKS,
    *_BEYOND,
    *_NOT_HERE,
)
