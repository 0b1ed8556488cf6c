"""The image configuration (OCI image-spec config.md, with Docker's additions), read leniently.

The blob is an image's identity and is kept byte for byte; these values are what ketch reads of it,
and what a commit or a build writes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from ketch.errors import DataCorrupt
from ketch.oci import digest, strictjson
from ketch.oci.platform import Platform

LARGEST_CONFIG = 8 * 1024 * 1024
_OFTEN = 16 << 10  # bytes of a blob whose value is kept
Strings = list[str] | None


class Health(msgspec.Struct, kw_only=True, omit_defaults=True, rename="pascal", frozen=True):
    """How to probe; durations in nanoseconds."""

    test: Strings = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class RunConfig(msgspec.Struct, kw_only=True, omit_defaults=True, rename="pascal", frozen=True):
    """The ``config`` object: how a container of the image runs by default."""

    user: str = ""
    exposed_ports: dict[str, Any] | None = None
    env: Strings = None
    entrypoint: Strings = None
    cmd: Strings = None
    volumes: dict[str, Any] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    healthcheck: Health | None = None
    on_build: Strings = None
    shell: Strings = None
    args_escaped: bool = False


class History(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One step of the image's making."""

    created: str | None = ""
    created_by: str | None = ""
    author: str | None = ""
    comment: str | None = ""
    empty_layer: bool = False


class RootFS(msgspec.Struct, kw_only=True, frozen=True):
    """The layers by diff ID, base first."""

    type: str = "layers"
    diff_ids: list[str] = []


class ImageConfig(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """The whole configuration; the digest of its blob is the image's ID."""

    created: str | None = None
    author: str | None = ""
    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: Strings = msgspec.field(default=None, name="os.features")
    config: RunConfig | None = None
    rootfs: RootFS = RootFS()
    history: list[History] | None = None
    docker_version: str | None = ""
    comment: str | None = ""

    @property
    def run(self) -> RunConfig:
        """``config``, empty when it is missing."""
        return self.config or RunConfig()

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers, base first."""
        return tuple(self.rootfs.diff_ids)

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        return Platform(
            architecture=self.architecture,
            os=self.os,
            variant=self.variant,
            os_version=self.os_version,
        )

    @property
    def created_at(self) -> int:
        """ns since the epoch; 0 when it says nothing readable."""
        return parse_time(self.created or "")


def decode(blob: bytes) -> ImageConfig:
    """Decode a configuration blob; raises ``DataCorrupt`` when it is none.

    Blobs that are asked for again, as in builds and events, are decoded once: take the value as
    it is.
    """
    return _decoded_once(blob) if len(blob) <= _OFTEN else _decoded(blob)


@lru_cache(maxsize=64)
def _decoded_once(blob: bytes) -> ImageConfig:
    return _decoded(blob)


def _decoded(blob: bytes) -> ImageConfig:
    strictjson.check(blob, "the image configuration", largest=LARGEST_CONFIG)
    try:
        config = msgspec.json.decode(blob, type=ImageConfig)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DataCorrupt(f"malformed image configuration: {error}") from None
    if config.rootfs.type != "layers":
        raise DataCorrupt(f"the image's rootfs has the type {config.rootfs.type[:40]!r}")
    for diff_id in config.diff_ids:
        if digest.algorithm_of(diff_id) != "sha256" or not digest.is_digest(diff_id):
            raise DataCorrupt(f"the image configuration has the invalid diff ID {diff_id[:100]!r}")
    return config


def encode(config: ImageConfig) -> bytes:
    """A blob: the same bytes for the same values."""
    return msgspec.json.encode(config, order="deterministic")


def parse_time(text: str) -> int:
    """ns since the epoch of an RFC 3339 instant; 0 when it can't be read or is before 1970."""
    try:
        instant = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return 0
    if instant.tzinfo is None or instant.year < 1970:
        return 0
    return int(instant.timestamp()) * 1_000_000_000 + instant.microsecond * 1000


def format_time(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits, as Docker writes instants."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:09d}Z"
