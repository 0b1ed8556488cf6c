"""``--build-context name=oci-layout://PATH[:TAG][@DIGEST]``: images in directories of this machine.

What the image needs is sent before the build (docs/beyond.md).
"""

from ketch.cli import layout_folder
from ketch.client.api import encode_query, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ketch.client.api import Client

SCHEME = "oci-layout://"


def value(name: str, target: str) -> str:
    """What the build is told; raises ``Failure``."""
    folder, tag, digest = _place(target)
    return f"{SCHEME}{_store(name)}:{tag}@{digest or layout_folder.root_of(folder, tag)}"


def send(client: "Client", token: str, words: "Iterable[str]") -> None:
    """Those among the values of ``--build-context``."""
    for word in words:
        name, _, target = word.partition("=")
        if not target.startswith(SCHEME):
            continue
        folder, tag, digest = _place(target)
        root = digest or layout_folder.root_of(folder, tag)
        put(client, token, f"oci:{_store(name)}", folder, [root])


def put(client: "Client", token: str, store: str, folder: str, roots: "list[str]") -> None:
    """Leave what some digests need with the engine."""
    route = f"/ketch/builds/offers/{quote(token)}/layout" + encode_query({"name": store})
    client.stream("PUT", route, body=layout_folder.stream(folder, roots)).body()


def _place(target: str) -> "tuple[str, str, str]":
    """Directory, tag and digest."""
    path, _, digest = target.removeprefix(SCHEME).partition("@")
    folder, colon, tag = path.rpartition(":")
    if not colon or "/" in tag:
        folder, tag = path, ""
    return folder, tag or "latest", digest


def _store(name: str) -> str:
    return name.lower().encode().hex()
