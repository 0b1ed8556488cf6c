"""Which packages a tree holds: Debian's, Alpine's, rpm's, Python's and npm's. Worker function.

The tree is hostile: files are looked up inside of it, read to a bound, and what can't be read is
left out.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from typing import Any

from ketch.build.tasks import rpm_database
from ketch.linux.paths import open_in_root

Args = dict[str, Any]
Package = dict[str, str]
_LARGEST = 64 << 20  # bytes of a package database
_SMALL = 1 << 20  # of one package's own file
_MOST = 100_000
_DPKG, _DPKG_PARTS = "/var/lib/dpkg/status", "/var/lib/dpkg/status.d"
_APK = "/lib/apk/db/installed"
_RPM = ("/var/lib/rpm", "/usr/lib/sysimage/rpm")
_RPM_FILES = ("rpmdb.sqlite", "Packages.db")
_RPM_OLD = "Packages"  # Berkeley DB
_LARGEST_RPM = 192 << 20
_SKIPPED = {"proc", "sys", "dev"}


def scan(args: Args, fds: list[int]) -> Args:
    """In an image's tree: ``{}`` → ``{"packages": [{"type", "name", "version", "license",
    "supplier", "arch", "epoch"}], "distribution": ID of os-release, "unread": [databases that can't
    be read]}``."""
    root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        release = _release(root_fd)
        unread: list[str] = []
        rpm = _rpm(root_fd, unread)
        found = [*_debian(root_fd), *_alpine(root_fd), *rpm, *_walked(root_fd)]
    finally:
        os.close(root_fd)
    unique = {(p["type"], p["name"], p["version"]): p for p in found if p["name"]}
    packages = [unique[key] for key in sorted(unique)][:_MOST]
    return {"packages": packages, "distribution": release.get("ID", ""), "unread": unread}


def _package(kind: str, fields: dict[str, str], **names: str) -> Package:
    wanted = {"name": "Package", "version": "Version", "license": "License", **names}
    found = {key: fields.get(name, "")[:500] for key, name in wanted.items()}
    return {"type": kind, "supplier": "", "arch": "", "epoch": "", **found}


def _debian(root_fd: int) -> Iterator[Package]:
    """Installed ones of dpkg(1); images without a package manager have a file for each."""
    texts = [_read(root_fd, _DPKG, _LARGEST)]
    texts += [_read(root_fd, f"{_DPKG_PARTS}/{n}", _SMALL) for n in _listed(root_fd, _DPKG_PARTS)]
    for text in texts:
        for fields in _paragraphs(text, ": "):
            if fields.get("Status", "installed").endswith("installed") and "Version" in fields:
                yield _package("deb", fields, supplier="Maintainer", arch="Architecture")


def _alpine(root_fd: int) -> Iterator[Package]:
    for fields in _paragraphs(_read(root_fd, _APK, _LARGEST), ":"):
        names = {"name": "P", "version": "V", "license": "L", "supplier": "m", "arch": "A"}
        yield _package("apk", fields, **names)


def _rpm(root_fd: int, unread: list[str]) -> Iterator[Package]:
    """Without the keys that rpm stores like packages. One place is a link to the other."""
    for folder in _RPM:
        there = _listed(root_fd, folder)
        newer = [name for name in _RPM_FILES if name in there]
        known = newer or [name for name in (_RPM_OLD,) if name in there]
        for name in known:
            try:
                data = _bytes_in(root_fd, f"{folder}/{name}", _LARGEST_RPM)
                if len(data) == _LARGEST_RPM:
                    raise ValueError("there is more of it")
                for header in rpm_database.headers(data):
                    fields = rpm_database.fields(header)
                    if fields and fields["name"] != "gpg-pubkey":
                        yield _rpm_package(fields)
            except (OSError, ValueError):
                unread.append(f"{folder}/{name}")


def _rpm_package(fields: dict[str, str]) -> Package:
    names = {"name": "name", "version": "version", "license": "license", "supplier": "vendor"}
    package = _package("rpm", fields, **names, arch="arch")
    return {**package, "epoch": fields["epoch"]}


def _paragraphs(text: str, colon: str) -> Iterator[dict[str, str]]:
    """Fields of one line; continuation lines are left out."""
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in paragraph.splitlines():
            name, found, value = line.partition(colon)
            if found and not line.startswith((" ", "\t")):
                fields.setdefault(name, value.strip())
        if fields:
            yield fields


def _walked(root_fd: int) -> Iterator[Package]:
    """What lies about: ``x.dist-info`` of Python, ``node_modules/x`` of npm."""
    for folder, directories, files, fd in os.fwalk(".", dir_fd=root_fd):
        if folder == ".":
            directories[:] = [name for name in directories if name not in _SKIPPED]
        base = os.path.basename(folder)
        if base.endswith((".dist-info", ".egg-info")):
            name = "METADATA" if "METADATA" in files else "PKG-INFO"
            head = _read_at(fd, name, _SMALL).split("\n\n")[0] if name in files else ""
            for fields in _paragraphs(head, ": "):
                yield _package("pypi", fields, name="Name", supplier="Author")
        elif "package.json" in files and "/node_modules/" in f"/{folder}":
            yield from _npm(_read_at(fd, "package.json", _SMALL))


def _npm(text: str) -> Iterator[Package]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict):
        fields = {key: value for key, value in document.items() if isinstance(value, str)}
        if fields.get("name") and fields.get("version"):
            yield _package("npm", fields, name="name", version="version", license="license")


def _release(root_fd: int) -> dict[str, str]:
    text = _read(root_fd, "/etc/os-release", _SMALL)
    lines = (line.partition("=") for line in text.splitlines())
    return {key: value.strip("\"'") for key, _, value in lines}


def _listed(root_fd: int, path: str) -> list[str]:
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        return sorted(os.listdir(fd))[:_MOST]
    finally:
        os.close(fd)


def _read(root_fd: int, path: str, largest: int) -> str:
    try:
        return _bytes_in(root_fd, path, largest).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _bytes_in(root_fd: int, path: str, largest: int) -> bytes:
    """A file inside of the tree, up to ``largest`` bytes; raises ``OSError``, ``ValueError``."""
    return _bytes(open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK), largest)


def _read_at(fd: int, name: str, largest: int) -> str:
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        return _bytes(os.open(name, flags, dir_fd=fd), largest).decode("utf-8", "replace")
    except OSError:
        return ""


def _bytes(fd: int, largest: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        return file.read(largest)
