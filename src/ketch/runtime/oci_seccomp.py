"""``linux.seccomp`` for ``ketch-runtime``: compiled once per profile, kept with the container.

Compiling takes tens of milliseconds, most of them for imports; callers send the same few profiles
over and over, so programs are kept in ``<root>/.seccomp`` under the digest of the object itself.
"""

import os

from ketch.errors import Unsupported
from ketch.linux import fastjson
from ketch.runtime import oci_state as state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.runtime.oci_state import Place

FOLDER = ".seccomp"
_VERSION = 1  # raised when the same object would compile to another program
# linux/seccomp.h. TSYNC means all threads of a process, and there is only one.
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
}


def install(profile: "dict[str, Any] | None", place: "Place") -> None:
    """Put the container's program beside its record; raises KetchError for a profile refused."""
    if not profile:
        return
    flags_of(profile)
    kept = f"{os.path.dirname(place.path)}/{FOLDER}/{_key(profile)}"
    try:
        os.link(kept, place.file(state.FILTER))
    except FileNotFoundError:
        os.link(_compile(profile, kept), place.file(state.FILTER))


def flags_of(profile: "dict[str, Any] | None") -> int:
    """``flags`` as seccomp(2) takes them; raises ``Unsupported`` for others."""
    bits = 0
    for name in (profile or {}).get("flags") or ():
        if name not in _FLAGS:
            raise Unsupported(f"linux.seccomp.flags: {name} is not supported")
        bits |= _FLAGS[name]
    return bits


def _key(profile: "dict[str, Any]") -> str:
    import _hashlib

    text = fastjson.dumps([_VERSION, os.uname().release, os.uname().machine, profile])
    return _hashlib.openssl_sha256(text).hexdigest()


def _compile(profile: "dict[str, Any]", kept: str) -> str:
    """Compile to ``kept``; another command that does the same at this moment is no trouble."""
    from ketch.runtime.seccomp.compiler import compile_profile
    from ketch.runtime.seccomp.oci_format import read_seccomp

    path = compile_profile(read_seccomp(profile), os.path.dirname(kept))
    try:
        os.link(path, kept)
    except FileExistsError:
        return kept
    return path
