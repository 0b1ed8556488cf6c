"""Small questions and changes of an image's configuration (``ketch.oci.image``) being built."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from ketch.oci.image import ImageConfig, RunConfig, encode

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def variables(run: RunConfig) -> dict[str, str]:
    """The environment as a mapping."""
    pairs = (entry.partition("=") for entry in run.env or ())
    return {key: value for key, _, value in pairs}


def with_variable(env: list[str], key: str, value: str) -> list[str]:
    """An environment with one variable set, in its old place if it had one."""
    names = [entry.partition("=")[0] for entry in env]
    entry = f"{key}={value}"
    if key not in names:
        return [*env, entry]
    place = names.index(key)
    return [*env[:place], entry, *env[place + 1 :]]


def with_path(run: RunConfig) -> list[str]:
    """The environment that a stage begins with: Docker's builders see to it that there is a PATH,
    which images of an imported archive have none of."""
    env = list(run.env or ())
    return env if "PATH" in variables(run) else with_variable(env, "PATH", PATH)


def shell_words(run: RunConfig) -> list[str]:
    """What shell forms are run by."""
    return list(run.shell or ("/bin/sh", "-c"))


def image_id(image: ImageConfig) -> str:
    """``sha256:…`` of the configuration's blob."""
    return "sha256:" + hashlib.sha256(encode(image)).hexdigest()


def timestamp() -> str:
    """Now, RFC 3339 with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
