"""What clients and front ends are told that they may use (BuildKit's util/apicaps)."""

from __future__ import annotations

from ketch.buildkit.messages.gateway import Cap

_FRONTEND = (
    *("solve.base", "resolveimage", "resolveimage.resolvemode", "return", "returnmap"),
    *("proto.refarray", "gateway.solve.metadata", "gateway.solve.evaluate"),
    *("gateway.evaluate.solve", "frontend.caps", "gateway.warnings", "gateway.evaluate"),
    *("reference.output", "frontend.inputs", "importcaches", "source.metaresolver"),
    *("readfile", "statfile", "readdir", "gateway.exec", "gateway.exec.extrahosts"),
    *("gateway.exec.secretenv", "gateway.exec.signals"),
)
_GRAPH = (
    *("source.image", "source.image.resolvemode", "source.local", "source.local.unique"),
    *("source.local.sessionid", "source.local.includepatterns", "source.local.followpaths"),
    *("source.local.excludepatterns", "source.local.sharedkeyhint", "source.local.differ"),
    *("source.git", "source.git.keepgitdir", "source.git.fullurl", "source.git.httpauth"),
    *("source.git.knownsshhosts", "source.git.mountsshsock", "source.http"),
    *("source.http.checksum", "source.http.perm", "soruce.http.uidgid", "source.ocilayout"),
    *("source.buildop.llbfilename", "exec.meta.base", "exec.meta.cgroup.parent"),
    *("exec.meta.network", "exec.meta.proxyenv", "exec.meta.security", "exec.meta.ulimit"),
    *("exec.meta.setsdefaultpath", "exec.meta.removemountstubs.recursive", "exec.mount.bind"),
    *("exec.mount.bind.readwrite-nooutput", "exec.mount.cache", "exec.mount.cache.sharing"),
    *("exec.mount.selector", "exec.mount.tmpfs", "exec.mount.tmpfs.size", "exec.mount.secret"),
    *("exec.mount.ssh", "exec.mount.cache.content", "exec.secretenv", "exec.validexitcode"),
    *("file.base", "file.rm.wildcard", "file.rm.nofollowsymlink", "file.symlink.create"),
    *("file.copy.includeexcludepatterns", "file.copy.alwaysreplaceexistingdestpaths"),
    *("file.copy.modestring", "mergeop", "diffop", "platform", "constraints"),
    *("meta.ignorecache", "meta.description", "meta.exportcache"),
)
_EXPORTER = (
    *("exporter.image.attestations", "exporter.image.annotations", "exporter.multiple"),
    "gc.freespacefilter",  # amounts of buildx prune
)


def frontend_caps() -> list[Cap]:
    """Of the gateway."""
    return [Cap(ID=name, Enabled=True) for name in _FRONTEND]


def graph_caps() -> list[Cap]:
    """Of build graphs and outputs."""
    return [Cap(ID=name, Enabled=True) for name in (*_GRAPH, *_EXPORTER)]
