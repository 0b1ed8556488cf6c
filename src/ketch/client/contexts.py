"""Contexts: named engines, in the store that the docker command line has.

``contexts/meta/<sha256 of the name>/meta.json`` holds the name, a description and the endpoint;
``contexts/tls/<sha256>/docker/{ca,cert,key}.pem`` its TLS files.
"""

import hashlib
import json
import os
import re
import shutil

from ketch.client import config_file
from ketch.client.address import Address, Tls
from ketch.errors import Conflict, InvalidParameter, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]+")
TLS_FILES = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}


class Context:
    """One stored context; ``tls`` maps ca, cert and key to the paths of those that are there."""

    __slots__ = ("description", "fields", "host", "name", "skip_verify", "tls")

    def __init__(self, document: "dict[str, Any]", tls: "Mapping[str, str]") -> None:
        self.fields = config_file.mapping(document, "Metadata")
        endpoint = config_file.mapping(config_file.mapping(document, "Endpoints"), "docker")
        self.name = str(document.get("Name", ""))
        self.description = str(self.fields.get("Description", ""))
        self.host = str(endpoint.get("Host", ""))
        self.skip_verify = endpoint.get("SkipTLSVerify") is True
        self.tls = dict(tls)

    def address(self) -> Address:
        """Where its engine is; raises ``InvalidParameter`` when the host is malformed."""
        address = Address(self.host)
        if self.tls or self.skip_verify or self.host.startswith("https://"):
            address.tls = Tls(**self.tls, verify=not self.skip_verify)
        return address

    def document(self) -> "dict[str, Any]":
        """``meta.json``."""
        fields = {key: value for key, value in self.fields.items() if key != "Description"}
        if self.description:
            fields["Description"] = self.description
        return {
            "Name": self.name,
            "Metadata": fields,
            "Endpoints": {"docker": {"Host": self.host, "SkipTLSVerify": self.skip_verify}},
        }


def check_name(name: str) -> None:
    """Raise ``InvalidParameter`` in docker's words."""
    if name == "default":
        raise InvalidParameter('"default" is a reserved context name')
    if not NAME.fullmatch(name):
        raise InvalidParameter(
            f'context name "{name}" is invalid, names are validated against regexp'
            f' "^{NAME.pattern}$"'
        )


class Store:
    """The contexts below ``folder``, that of ``config.json`` if it is not given."""

    def __init__(self, folder: str = "") -> None:
        self._folder = os.path.join(folder or config_file.folder(), "contexts")

    def metadata_path(self, name: str) -> str:
        """The folder of ``meta.json``."""
        return os.path.join(self._folder, "meta", _identity(name))

    def tls_path(self, name: str) -> str:
        """The folder of the TLS files."""
        return os.path.join(self._folder, "tls", _identity(name))

    def __contains__(self, name: str) -> bool:
        return os.path.exists(os.path.join(self.metadata_path(name), "meta.json"))

    def get(self, name: str) -> Context:
        """One context; raises ``NotFound``, ``InvalidParameter`` for a malformed file."""
        path = os.path.join(self.metadata_path(name), "meta.json")
        try:
            with open(path, "rb") as file:
                return self._read(file.read(), path)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise NotFound(f'context "{name}": context not found: open {path}: {reason}') from None

    def _read(self, data: bytes, path: str) -> Context:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidParameter(f"cannot read {path}: {error}") from None
        if not isinstance(document, dict):
            raise InvalidParameter(f"cannot read {path}: it holds no JSON object")
        folder = os.path.join(self.tls_path(str(document.get("Name", ""))), "docker")
        places = {key: os.path.join(folder, name) for key, name in TLS_FILES.items()}
        return Context(
            document, {key: place for key, place in places.items() if os.path.exists(place)}
        )

    def names(self) -> "list[str]":
        """All names, sorted; folders that hold no context are passed over."""
        found = []
        top = os.path.join(self._folder, "meta")
        for identity in os.listdir(top) if os.path.isdir(top) else ():
            try:
                with open(os.path.join(top, identity, "meta.json"), "rb") as file:
                    found.append(self._read(file.read(), file.name).name)
            except (OSError, InvalidParameter):
                continue
        return sorted(found)

    def put(self, context: Context, tls: "Mapping[str, bytes] | None" = None) -> None:
        """Write a context; with ``tls`` (contents of ca, cert, key) its TLS files anew too."""
        check_name(context.name)
        context.address()
        if tls is not None:
            shutil.rmtree(self.tls_path(context.name), ignore_errors=True)
            folder = os.path.join(self.tls_path(context.name), "docker")
            for key, data in tls.items():
                os.makedirs(folder, mode=0o700, exist_ok=True)
                _write(os.path.join(folder, TLS_FILES[key]), data, 0o600)
        os.makedirs(self.metadata_path(context.name), mode=0o755, exist_ok=True)
        data = json.dumps(context.document(), separators=(",", ":")).encode()
        _write(os.path.join(self.metadata_path(context.name), "meta.json"), data, 0o644)

    def add(self, context: Context, tls: "Mapping[str, bytes]") -> None:
        """Write a new context; raises ``Conflict`` when the name is taken."""
        check_name(context.name)
        if context.name in self:
            raise Conflict(f'context "{context.name}" already exists')
        self.put(context, tls)

    def remove(self, name: str) -> None:
        """Forget a context, if it is there."""
        shutil.rmtree(self.metadata_path(name), ignore_errors=True)
        shutil.rmtree(self.tls_path(name), ignore_errors=True)


def _identity(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _write(path: str, data: bytes, mode: int) -> None:
    temporary = f"{path}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.write(data)
    os.rename(temporary, path)
