"""What a client asks of one build, and what it hears back."""

from __future__ import annotations

import msgspec

from ketch.build.request.attestations import Attestations
from ketch.build.request.cache_options import CacheExport, CacheImport
from ketch.build.request.exports import Export

UPLOADED, BY_SESSION = "upload-request", "client-session"
"""Values of ``BuildOptions.remote`` that are no URL: in a request of its own, at a session's client
(both with BuildKit only)."""


class BuildLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the containers of RUN steps; 0 or empty means none, sizes in bytes."""

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    shm_size: int = 0
    ulimits: tuple[tuple[str, int, int], ...] = ()  # name, soft, hard
    cgroup_parent: str = ""


class ImageInput(msgspec.Struct, frozen=True):
    """What another build came to, as an image to build on: configuration, layers (base first)."""

    config: bytes
    layers: tuple[str, ...]


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a build, in the words of Docker's ``POST /build``.

    ``dockerfile`` is a path inside the context; ``contexts`` are other ones by name
    (``named_contexts``), of which ``inputs`` are those of kind ``input:``, with what the client
    says of them in ``input_metadata``. ``no_cache_stages`` take nothing from the cache.
    ``build_args`` maps to None for an argument that was named without a value (then it is as if it
    were not given).
    ``credentials`` maps a registry's host to a user and a password (``docker.io`` for the Hub).
    ``secrets`` are values by ID, for mounts of that type. ``allow`` names entitlements:
    ``network.host`` and ``security.insecure``, which a RUN must not take by itself. What ketch
    can't honour (``squash``, ``isolation``, ``security_options``) is
    here so that it can be refused by name. Without ``exports`` the result is an image.
    ``buildkit`` has the history told in BuildKit's words (``wording``).
    ``attributes`` are the client's own words for all this, for the history.
    ``vcs`` is what the client says of the repository that the context is in.
    ``as_index`` makes an index of one platform's image too (``wants_index``).
    ``verify`` builds twice without the cache and fails when the outcomes differ.
    ``stepwise`` fails only where a step is come to that can't be done, not as soon as that is
    known: somebody wants to stand there.
    """

    dockerfile: str = "Dockerfile"
    tags: tuple[str, ...] = ()
    target: str = ""
    build_args: dict[str, str | None] = {}
    labels: dict[str, str] = {}
    no_cache: bool = False
    no_cache_stages: tuple[str, ...] = ()
    pull: bool = False
    remove: bool = True
    force_remove: bool = False
    quiet: bool = False
    network_mode: str = ""
    platform: str = ""
    extra_hosts: tuple[str, ...] = ()
    limits: BuildLimits = BuildLimits()
    credentials: dict[str, tuple[str, str]] = {}
    secrets: dict[str, bytes] = {}
    allow: tuple[str, ...] = ()
    contexts: dict[str, str] = {}
    inputs: dict[str, ImageInput] = {}
    input_metadata: dict[str, str] = {}
    remote: str = ""
    squash: bool = False
    attestations: Attestations = Attestations()
    cache_imports: tuple[CacheImport, ...] = ()
    cache_exports: tuple[CacheExport, ...] = ()
    isolation: str = ""
    security_options: tuple[str, ...] = ()
    verify: bool = False
    stepwise: bool = False
    as_index: bool = False
    vcs: dict[str, str] = {}
    buildkit: bool = False
    exports: tuple[Export, ...] = ()
    attributes: dict[str, str] = {}

    @property
    def wants_index(self) -> bool:
        """Whether the result is an index, whatever number of platforms it has: by the option or by
        the build argument that says the same."""
        asked = self.build_args.get("BUILDKIT_MULTI_PLATFORM") or "0"
        return self.as_index or asked.lower() not in ("0", "f", "false")


class BuildOutput(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a build; exactly one of its parts is set.

    ``stream`` is text for the screen; ``aux`` the ID of an image that a stage ended with;
    ``error`` the reason of the end, with the exit ``code`` of a failed command (0 = none);
    ``warning`` a sentence that names a line of the Dockerfile; ``status`` (with ``id``, ``current``
    and ``total`` bytes) the progress of a pull.
    """

    stream: str = ""
    aux: str = ""
    error: str = ""
    code: int = 0
    warning: str = ""
    status: str = ""
    id: str = ""
    current: int = 0
    total: int = 0
