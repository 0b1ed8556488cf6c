"""Rules about FROM: names of stages, platforms, variables in the image's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from ketch.build.dockerfile.ast import Dockerfile, From
from ketch.build.dockerfile.expand import ExpansionError, expand
from ketch.build.lint import rules
from ketch.build.lint.guesses import Guesses
from ketch.build.lint.recorder import Recorder
from ketch.build.lint.rules import Finding
from ketch.errors import InvalidParameter
from ketch.oci import reference as references

RESERVED = ("context", "scratch")


def check_stages(
    dockerfile: Dockerfile, platform: Mapping[str, str], guesses: Guesses
) -> Iterator[Finding]:
    """The findings of all rules of this module; ``platform`` maps TARGETPLATFORM and its kin."""
    seen: set[str] = set()
    declared = Recorder(dict(platform))
    for arg in dockerfile.global_args:
        declared.update(dict.fromkeys((name for name, _ in arg.pairs), "x"))
    defaults = _defaults(dockerfile, platform)
    for stage in dockerfile.stages:
        base = stage.base
        yield from _name(base, seen)
        yield from _platform(base)
        yield from _undefined(base, declared, dockerfile.escape, guesses)
        if base.image.lower() not in seen and "$" in base.image:
            yield from _default_image(base, defaults, dockerfile.escape)
        seen.add(base.alias)


def _name(base: From, seen: set[str]) -> Iterator[Finding]:
    if not base.alias:
        return
    words = base.text.split()
    keyword, written = next(
        (word, name)
        for word, name in pairwise(words)
        if word.lower() == "as" and name.lower() == base.alias
    )
    if written != base.alias:
        yield Finding(
            rules.STAGE_NAME_CASING,
            f"Stage name '{written}' should be lowercase",
            base.range,
            f"{keyword} {base.alias}",
        )
    if words[0].isupper() != keyword.isupper() or words[0].islower() != keyword.islower():
        wanted = "AS" if words[0].isupper() else "as"
        yield Finding(
            rules.FROM_AS_CASING,
            f"'{keyword}' and '{words[0]}' keywords' casing do not match",
            base.range,
            f"{words[0]} … {wanted} {base.alias}",
        )
    if base.alias in RESERVED:
        yield Finding(
            rules.RESERVED_STAGE,
            f'Stage name should not use the same name as reserved stage "{base.alias}"',
            base.range,
            "give the stage another name",
        )
    if base.alias in seen:
        yield Finding(
            rules.DUPLICATE_STAGE,
            f'Duplicate stage name "{base.alias}", stage names should be unique',
            base.range,
            "give the stage another name: only this one can be named from here on",
        )


def _platform(base: From) -> Iterator[Finding]:
    if not base.platform:
        return
    if base.platform in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
        yield Finding(
            rules.REDUNDANT_PLATFORM,
            f"Setting platform to predefined {base.platform} in FROM is redundant as this is the "
            "default behavior",
            base.range,
            "take --platform out",
        )
    elif "$" not in base.platform and not _named_for(base):
        yield Finding(
            rules.CONST_PLATFORM,
            f'FROM --platform flag should not use constant value "{base.platform}"',
            base.range,
            "take --platform out, or write --platform=$BUILDPLATFORM",
        )


def _named_for(base: From) -> bool:
    """A stage for one platform says so in its name, to be chosen by a variable."""
    return any(word and word in base.alias for word in base.platform.split("/"))


def _undefined(base: From, declared: Recorder, escape: str, guesses: Guesses) -> Iterator[Finding]:
    for word in (base.image, base.platform):
        try:
            expand(word, declared, escape)
        except ExpansionError:
            pass
    for name in declared.taken():
        near = guesses.near(name, lambda: declared)
        yield Finding(
            rules.UNDEFINED_FROM,
            f"FROM argument '{name}' is not declared{near}",
            base.range,
            f"ARG {name}=… before the first FROM",
        )


def _defaults(dockerfile: Dockerfile, platform: Mapping[str, str]) -> dict[str, str] | None:
    """The arguments when nobody gives any; None when one cannot be expanded."""
    values = dict(platform)
    try:
        for arg in dockerfile.global_args:
            for name, default in arg.pairs:
                values[name] = expand(default or "", values, dockerfile.escape)
    except ExpansionError:
        return None
    return values


def _default_image(base: From, values: dict[str, str] | None, escape: str) -> Iterator[Finding]:
    """What the file builds from when nobody gives an argument."""
    try:
        image = "" if values is None else expand(base.image, values, escape)
        if image != "scratch":
            references.parse(image)
    except (ExpansionError, InvalidParameter):
        yield Finding(
            rules.INVALID_DEFAULT,
            f"Default value for ARG {base.image} results in empty or invalid base image name",
            base.range,
            "give the ARG a default, or write ${NAME:-default}",
        )
