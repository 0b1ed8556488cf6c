"""``builder`` of ``daemon.json``: the bounds of the build cache and what builds may be granted, in
Docker's words.

Keys are read in upper or lower case, as Docker does. ``keepStorage`` and ``defaultKeepStorage`` are
the older names of ``reservedSpace`` and ``defaultReservedSpace``.
Source: docs.docker.com/build/cache/garbage-collection, moby's daemon/config/builder.go (keys only).
"""

from __future__ import annotations

from typing import Any

import msgspec

from ketch import sizes
from ketch.build.dockerfile.durations import parse_duration
from ketch.engine.builder.cache.gc import Amounts, Collection, Rule, check_filters
from ketch.engine.filters import Filters
from ketch.errors import InvalidParameter


def _joined(name: str) -> str:
    return name.replace("_", "")


class GcRule(msgspec.Struct, frozen=True, kw_only=True, rename=_joined, forbid_unknown_fields=True):
    """One of ``policy``: ``filter`` are words like ``unused-for=48h``, sizes like ``10GB``."""

    all: bool = False
    filter: tuple[str, ...] = ()
    reserved_space: str = ""
    keep_storage: str = ""
    max_used_space: str = ""
    min_free_space: str = ""


class Gc(msgspec.Struct, frozen=True, kw_only=True, rename=_joined, forbid_unknown_fields=True):
    """``gc``: with a ``policy`` the defaults don't count."""

    enabled: bool = True
    policy: tuple[GcRule, ...] | None = None
    default_reserved_space: str = ""
    default_keep_storage: str = ""
    default_max_used_space: str = ""
    default_min_free_space: str = ""


class Entitlements(msgspec.Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    """``entitlements``: whether ``--allow`` is heard."""

    network_host: bool = True
    security_insecure: bool = False


class BuilderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``builder``."""

    gc: Gc = Gc()
    entitlements: Entitlements = Entitlements()


def lowered(value: Any) -> Any:
    """With the keys of all objects in lower case."""
    if isinstance(value, dict):
        return {str(key).lower(): lowered(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [lowered(inner) for inner in value]
    return value


def grantable(settings: BuilderSettings) -> frozenset[str]:
    """The entitlements that a build gets when it asks for them."""
    given = {
        "network.host": settings.entitlements.network_host,
        "security.insecure": settings.entitlements.security_insecure,
    }
    return frozenset(name for name, granted in given.items() if granted)


def collection(settings: BuilderSettings) -> Collection:
    """What the engine keeps to; raises ``InvalidParameter``."""
    gc = settings.gc
    where = "builder.gc.default"
    return Collection(
        enabled=gc.enabled,
        amounts=Amounts(
            reserved=_either(
                where, gc.default_reserved_space, "KeepStorage", gc.default_keep_storage
            ),
            max_used=_size(f"{where}MaxUsedSpace", gc.default_max_used_space),
            min_free=_size(f"{where}MinFreeSpace", gc.default_min_free_space),
        ),
        rules=None if gc.policy is None else tuple(map(_rule, gc.policy)),
    )


def _rule(rule: GcRule) -> Rule:
    where = "builder.gc.policy: "
    filters: dict[str, tuple[str, ...]] = {}
    unused = 0
    for word in rule.filter:
        key, _, value = word.partition("=")
        if key in ("unused-for", "until"):
            try:
                unused = parse_duration(value)
            except ValueError as error:
                raise InvalidParameter(f"{where}{key}: {error}") from None
        else:
            filters[key] = (*filters.get(key, ()), value)
    _check(where, filters)
    return Rule(
        filters=filters,
        unused_for=unused,
        amounts=Amounts(
            reserved=_either(where, rule.reserved_space, "keepStorage", rule.keep_storage),
            max_used=_size(f"{where}maxUsedSpace", rule.max_used_space),
            min_free=_size(f"{where}minFreeSpace", rule.min_free_space),
        ),
    )


def _check(where: str, filters: Filters) -> None:
    try:
        check_filters(filters)
    except InvalidParameter as error:
        raise InvalidParameter(f"{where}{error}") from None


def _either(where: str, text: str, older: str, old: str) -> int:
    if text and old:
        raise InvalidParameter(f"{where}{older} is the older name of another key: give one of them")
    return _size(f"{where}ReservedSpace", text) or _size(f"{where}{older}", old)


def _size(key: str, text: str) -> int:
    try:
        return sizes.parse(text) if text else 0
    except InvalidParameter as error:
        raise InvalidParameter(f"{key}: {error}") from None
