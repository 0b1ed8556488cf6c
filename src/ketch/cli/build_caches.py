"""``--cache-to`` and ``--cache-from``: where a build's cache goes to and comes from.

A bare word is the name of an image or a cache in a registry. Of ``type=local`` the directory is
sent before the build, or written after it (docs/beyond.md).
"""

import os

from ketch.cli.build_outputs import Output, fields
from ketch.cli.flags import Failure
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client


class Caches:
    """What the flags name; raises ``Failure``."""

    def __init__(self, parsed: "Parsed") -> None:
        self.sources = [_source(text) for text in _words(parsed["cache-from"])]
        self.targets = [_target(text) for text in parsed["cache-to"]]

    def query(self) -> "dict[str, str]":
        """Parameters of POST /build."""
        found = {}
        if self.sources:
            found["cachefrom"] = fastjson.dumps([_wire(one) for one in self.sources]).decode()
        if self.targets:
            found["cacheto"] = fastjson.dumps([_wire(one) for one in self.targets]).decode()
        return found

    def sends(self) -> bool:
        """Whether a directory is to be sent."""
        return any(source.kind == "local" for source in self.sources)

    def send(self, client: "Client", token: str) -> None:
        """The directories that caches come from."""
        from ketch.cli import build_layouts, layout_folder

        for folder, source in {one.dest: one for one in self.sources if one.dest}.items():
            if not os.path.exists(os.path.join(folder, "index.json")):
                continue  # nothing was put there yet: the build does without
            wanted = [one.attributes for one in self.sources if one.dest == folder]
            roots = [
                root
                for a in wanted
                for root in layout_folder.roots(folder, a.get("tag", "latest"), a.get("digest", ""))
            ]
            build_layouts.put(client, token, f"local:{source.attributes['src']}", folder, roots)


def _words(texts: "list[str]") -> "list[str]":
    """Bare names may stand with commas between them, as docker's classic builder has it."""
    found: list[str] = []
    for text in texts:
        found += [text] if "=" in text else [word for word in text.split(",") if word]
    return found


def _source(text: str) -> Output:
    attributes = fields(text, "cache source") if "=" in text else {"type": "registry", "ref": text}
    kind = attributes.pop("type", "registry")
    return Output(kind, attributes, _folder(kind, attributes, "src", text))


def _target(text: str) -> Output:
    attributes = fields(text, "cache target") if "=" in text else {"type": "registry", "ref": text}
    kind = attributes.pop("type", "registry")
    return Output(kind, attributes, _folder(kind, attributes, "dest", text), layout=kind == "local")


def _folder(kind: str, attributes: "dict[str, str]", key: str, text: str) -> str:
    if kind != "local":
        return ""
    folder = attributes.get(key, "")
    if not folder:
        raise Failure(f"invalid cache {text!r}: type=local needs {key}=")
    return os.path.expanduser(folder)


def _wire(one: Output) -> "dict[str, Any]":
    return {"Type": one.kind, "Attrs": one.attributes}
