"""Platforms: ``os/architecture[/variant]``, normalised and matched as image clients do.

Names are Go's (OCI image-spec, image-index.md); aliases and fallbacks follow containerd's
``platforms`` package, because that is what people's images and scripts expect.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import msgspec

from ketch.errors import InvalidParameter

_WORD = re.compile(r"[A-Za-z0-9_.-]+")
_ARCHITECTURES = {
    "i386": "386",
    "i686": "386",
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armv7l": "arm",
    "armel": "arm",
    "loong64": "loong64",
    "loongarch64": "loong64",
}
_KNOWN_ARCHITECTURES = frozenset(
    str.split(
        "386 amd64 arm arm64 arm64be armbe loong64 mips mips64 mips64le mipsle ppc ppc64 ppc64le "
        "riscv riscv64 s390 s390x sparc sparc64 wasm"
    )
)
"""Go's names, for a platform of one word."""
_ALIAS_VARIANTS = {"armhf": "v7", "armv7l": "v7", "armel": "v6"}
_PLAIN_VARIANTS = {("arm64", "v8"), ("amd64", "v1")}  # the same as no variant
_OPERATING_SYSTEMS = {"macos": "darwin"}


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an image runs on."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def normalised(self) -> Platform:
        """With aliases resolved and variants in their usual form."""
        asked = self.architecture.lower()
        architecture = _ARCHITECTURES.get(asked, asked)
        variant = _ALIAS_VARIANTS.get(asked, "") or self.variant.lower()
        if variant.isdigit():
            variant = f"v{variant}"
        if architecture == "arm" and not variant:
            variant = "v7"
        if (architecture, variant) in _PLAIN_VARIANTS:
            variant = ""
        system = self.os.lower()
        return Platform(
            architecture=architecture,
            os=_OPERATING_SYSTEMS.get(system, system),
            variant=variant,
            os_version=self.os_version,
        )


def host() -> Platform:
    """The platform of this machine."""
    return Platform(os="linux", architecture=os.uname().machine).normalised()


def parse(text: str) -> Platform:
    """``linux/arm64/v8``, ``arm64`` or ``linux``, normalised; what is not said is the host's.

    Raises ``InvalidParameter``.
    """
    words = text.split("/")
    if not 1 <= len(words) <= 3 or not all(_WORD.fullmatch(word) for word in words):
        raise InvalidParameter(
            f"invalid platform {text!r}: os/architecture[/variant] is expected, as linux/arm64/v8"
        )
    if len(words) == 1:
        word = words[0].lower()
        if word in ("linux", "windows", "darwin", "macos", "freebsd"):
            machine = host()
            words = [words[0], machine.architecture, machine.variant]
        elif word in _ARCHITECTURES or word in _KNOWN_ARCHITECTURES:
            words = ["linux", words[0]]
        else:
            raise InvalidParameter(
                f'"{text}": unknown operating system or architecture: invalid argument'
            )
    words += [""] * (3 - len(words))
    return Platform(os=words[0], architecture=words[1], variant=words[2]).normalised()


def accepted(platform: Platform) -> tuple[Platform, ...]:
    """Platforms whose images run on ``platform``, best first."""
    wanted = platform.normalised()

    def same(architecture: str, variant: str) -> Platform:
        return Platform(os=wanted.os, architecture=architecture, variant=variant)

    older = [("arm", f"v{n}") for n in range(_number(wanted.variant, 8), 4, -1)]
    if wanted.architecture == "arm":
        return tuple(same(*pair) for pair in older)
    if wanted.architecture == "arm64":
        return (same("arm64", wanted.variant), same("arm64", ""), *(same(*p) for p in older))
    if wanted.architecture == "amd64":
        lower = range(_number(wanted.variant, 1), 1, -1)
        return (*(same("amd64", f"v{n}") for n in lower), same("amd64", ""), same("386", ""))
    return (same(wanted.architecture, wanted.variant),)


def choose(offered: Sequence[Platform | None], wanted: Platform) -> int | None:
    """Index of the best of ``offered`` for ``wanted``; None when nothing fits.

    The first wins among equals, as in every client that reads an index.
    """
    plain = [
        (known.os, known.architecture, known.variant)
        for known in ((item or Platform()).normalised() for item in offered)
    ]
    for option in accepted(wanted):
        key = (option.os, option.architecture, option.variant)
        if key in plain:
            return plain.index(key)
    return None


def _number(variant: str, default: int) -> int:
    digits = variant.removeprefix("v")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 3 else default
