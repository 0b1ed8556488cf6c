"""``config.json``, which ketch shares with the docker command line.

The folder is ``DOCKER_CONFIG`` or ``~/.docker``. Keys that ketch does not know are kept when it
writes. On the command line's start path: imports nothing heavy.
"""

import os

from ketch.errors import InvalidParameter
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def folder() -> str:
    """Where the configuration is."""
    return os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")


def path() -> str:
    """The file."""
    return os.path.join(folder(), "config.json")


def load() -> "dict[str, Any]":
    """What the file holds, {} without one; raises ``InvalidParameter`` when it is no JSON."""
    try:
        with open(path(), "rb") as file:
            config = fastjson.loads(file.read() or b"{}")
    except OSError:
        return {}
    except ValueError as error:
        raise InvalidParameter(f"cannot read {path()}: it is no JSON: {error}") from None
    if not isinstance(config, dict):
        raise InvalidParameter(f"cannot read {path()}: it holds no JSON object")
    return config


def save(config: "dict[str, Any]") -> None:
    """Replace the file at once, readable by its owner alone; a link stays a link."""
    import json

    target = os.path.realpath(path())
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    temporary = f"{target}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "w") as file:
            json.dump(config, file, indent="\t")
            file.flush()
            os.fsync(fd)
        os.rename(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def mapping(config: "dict[str, Any]", key: str) -> "dict[str, Any]":
    """A key that holds an object; {} when it is absent or holds something else."""
    value = config.get(key)
    return value if isinstance(value, dict) else {}
