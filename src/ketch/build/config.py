"""The image configuration while it is being built.

Field names and meaning: OCI image-spec ``config.md``, with Docker's additions (``Healthcheck``,
``OnBuild``, ``Shell``: moby's image specification 1.2/1.3).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import msgspec

from ketch.errors import DataCorrupt


class Health(msgspec.Struct, kw_only=True, omit_defaults=True, rename="pascal"):
    """How to probe; durations in nanoseconds."""

    test: list[str] = []
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class RunConfig(msgspec.Struct, kw_only=True, omit_defaults=True, rename="pascal"):
    """The ``config`` object: how a container of the image runs."""

    user: str = ""
    exposed_ports: dict[str, dict[str, str]] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, dict[str, str]] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    healthcheck: Health | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None
    args_escaped: bool = False
    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0

    def variables(self) -> dict[str, str]:
        """The environment as a mapping."""
        pairs = (entry.partition("=") for entry in self.env or ())
        return {key: value for key, _, value in pairs}

    def set_variable(self, key: str, value: str) -> None:
        """Set one variable, in its old place if it has one."""
        env = dict.fromkeys(self.env or ())
        names = [entry.partition("=")[0] for entry in env]
        entries = list(env)
        if key in names:
            entries[names.index(key)] = f"{key}={value}"
        else:
            entries.append(f"{key}={value}")
        self.env = entries

    def shell_words(self) -> list[str]:
        """What shell forms are run by."""
        return list(self.shell or ("/bin/sh", "-c"))


class History(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of ``docker history``."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class RootFS(msgspec.Struct, kw_only=True):
    """The layers, base first, by diff ID."""

    type: str = "layers"
    diff_ids: list[str] = []


class ImageConfig(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The whole configuration blob; its digest is the image's ID."""

    created: str | None = ""
    author: str = ""
    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] = msgspec.field(default_factory=list, name="os.features")
    config: RunConfig | None = msgspec.field(default_factory=RunConfig)
    rootfs: RootFS = msgspec.field(default_factory=RootFS)
    history: list[History] | None = msgspec.field(default_factory=list)

    @classmethod
    def decode(cls, blob: bytes) -> ImageConfig:
        """From an image's blob; raises ``DataCorrupt`` when it is none."""
        try:
            config = msgspec.json.decode(blob, type=cls)
        except msgspec.DecodeError as error:
            raise DataCorrupt(f"the base image's configuration can't be read: {error}") from None
        config.config = config.config or RunConfig()
        config.history = config.history or []
        return config

    def encode(self) -> bytes:
        """The blob, always the same bytes for the same values."""
        return msgspec.json.encode(self, order="deterministic")

    def image_id(self) -> str:
        """``sha256:…`` of the blob."""
        return "sha256:" + hashlib.sha256(self.encode()).hexdigest()

    @property
    def run(self) -> RunConfig:
        """``config``, made when it is missing."""
        if self.config is None:
            self.config = RunConfig()
        return self.config


def timestamp() -> str:
    """Now, RFC 3339 with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
