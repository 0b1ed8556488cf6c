"""Named contexts (``--build-context name=…``): what a name in FROM and ``from`` means instead.

A value is ``docker-image://reference``, ``local:name`` (a directory of the client's), a URL of an
archive or a git repository (``with-name:`` before it: the URL's directory is in the context, by its
name), ``oci-layout://…``, or ``input:key``: what another build of the client came to
(``BuildOptions.inputs``). A name is matched as it is written or, for images, in its normal form, so
that ``docker.io/library/alpine:latest`` stands for ``alpine`` too.
"""

from __future__ import annotations

from collections.abc import Mapping

from ketch.errors import InvalidParameter
from ketch.oci import reference as references

IMAGE, LOCAL, LAYOUT, INPUT = "docker-image://", "local:", "oci-layout://", "input:"
WITH_NAME = "with-name:"


def find(contexts: Mapping[str, str], name: str, platform: str = "") -> str | None:
    """The value of the context that ``name`` means; one for ``name::platform`` goes first.
    ``scratch`` is what it is."""
    if not contexts or name in ("", "scratch"):
        return None
    for candidate in _spellings(name):
        if platform and f"{candidate}::{platform}" in contexts:
            return contexts[f"{candidate}::{platform}"]
        if candidate in contexts:
            return contexts[candidate]
    return None


def _spellings(name: str) -> list[str]:
    try:
        reference = references.parse(name).tagged()
    except InvalidParameter:
        return [name]
    bare = (reference.familiar_name,) if reference.tag == "latest" else ()
    return list(dict.fromkeys((name, *bare, reference.familiar, str(reference))))
