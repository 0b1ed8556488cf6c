"""Build arguments and the variables that a stage's words are expanded with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ketch.build.dockerfile.ast import Arg, Instruction
from ketch.build.dockerfile.expand import ExpansionError, expand, expand_words

PROXY_ARGS = frozenset(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)
"""Arguments that need no ARG, reach every RUN, and stay out of the history, and of cache keys too
unless an ARG declares them."""

BUILTIN_ARGS = frozenset(
    {
        *("BUILDKIT_DOCKERFILE_CHECK", "BUILDKIT_SYNTAX", "BUILDKIT_INLINE_CACHE"),
        *("BUILDKIT_MULTI_PLATFORM", "BUILDKIT_SANDBOX_HOSTNAME"),
        *("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "BUILDKIT_CACHE_MOUNT_NS", "SOURCE_DATE_EPOCH"),
    }
)
"""Arguments that speak to the builder itself (Dockerfile reference, "BuildKit built-in build
args")."""


class GlobalScope:
    """Arguments before the first FROM, and what the client gave.

    ``platform`` holds TARGETPLATFORM and its kin, known everywhere and overridable.
    """

    def __init__(
        self, given: Mapping[str, str | None], platform: Mapping[str, str], escape: str
    ) -> None:
        self.given = {key: value for key, value in given.items() if value is not None}
        self.platform = dict(platform)
        self.escape = escape
        self.values: dict[str, str | None] = {}
        self.consumed: set[str] = set()

    def declare(self, arg: Arg) -> None:
        """Take in a global ARG."""
        for name, default in arg.pairs:
            value = self.given.get(name)
            if value is None and default is not None:
                value = expand_in(arg, default, self.variables(), self.escape)
            self.consumed.add(name)
            self.values[name] = value if value is not None else self.platform.get(name)

    def variables(self) -> dict[str, str]:
        """What FROM is expanded with."""
        known = {key: value for key, value in self.values.items() if value is not None}
        return {**self.platform, **known}

    def unused(self) -> list[str]:
        """Given arguments that no ARG declared."""
        known = self.consumed | PROXY_ARGS | BUILTIN_ARGS
        return sorted(set(self.given) - known)


class Declared(NamedTuple):
    """One of an ARG: the expanded default, and the value that it gives, if it gives one."""

    name: str
    default: str | None
    value: str | None


class StageScope:
    """The arguments of one stage. Of an argument and a variable of the environment with one name,
    what the Dockerfile said last counts, as in BuildKit (``newer``: arguments that do)."""

    def __init__(self, outer: GlobalScope) -> None:
        self.outer = outer
        self.args: dict[str, str | None] = {}
        self.newer: set[str] = set()

    def fork(self) -> StageScope:
        """Another scope that begins with what this one knows."""
        other = StageScope(self.outer)
        other.inherit(self, ())
        return other

    def inherit(self, parent: StageScope, env: Iterable[str]) -> None:
        """What a stage that continues another one begins with: there the image's environment counts
        as said last."""
        self.args.update(parent.args)
        self.newer.update(parent.newer - set(env))

    def declare(self, arg: Arg, env: Mapping[str, str]) -> list[Declared]:
        """Take in an ARG; returns what it says, for the history."""
        declared: list[Declared] = []
        for name, default in arg.pairs:
            if default is not None:
                default = expand_in(arg, default, self.variables(env), self.outer.escape)
            self.outer.consumed.add(name)
            value = self._value(name, default)
            if value is None:
                self.args.setdefault(name, None)  # one that has a value keeps it
            else:
                self.args[name] = value
                self.newer.add(name)
            declared.append(Declared(name, default, value))
        return declared

    def _value(self, name: str, default: str | None) -> str | None:
        if name in self.outer.given:
            return self.outer.given[name]
        if default is not None:
            return default
        inherited = self.outer.values.get(name)
        return inherited if inherited is not None else self.outer.platform.get(name)

    def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """What the stage's words are expanded with."""
        values = {key: value for key, value in self.args.items() if value is not None}
        return {**values, **env, **{key: values[key] for key in self.newer}}

    def environment(self, given: Iterable[str]) -> list[str]:
        """Of the image's variables (``name=value``) those that no argument hides from RUN."""
        return [word for word in given if word.partition("=")[0] not in self.newer]

    def run_args(self, env: Mapping[str, str]) -> list[str]:
        """``name=value`` of the arguments that RUN sees and its cache key holds, sorted."""
        return sorted(
            f"{name}={value}"
            for name, value in self.args.items()
            if value is not None
            and (name not in env or name in self.newer)
            and name not in PROXY_ARGS
        )

    def declared_args(self, env: Mapping[str, str]) -> list[str]:
        """``name=value`` of all that was declared, in that order, as BuildKit's history has it."""
        values = self.variables(env)
        return [f"{name}={values.get(name, '')}" for name in self.args if name not in PROXY_ARGS]

    def declared_proxies(self) -> list[str]:
        """``name=value`` of the proxies that the Dockerfile itself declares, sorted: these may go
        into what a RUN makes, so its cache key holds them, as with Docker."""
        declared = ((name, self.args[name]) for name in sorted(set(self.args) & PROXY_ARGS))
        return [f"{name}={value}" for name, value in declared if value is not None]

    def proxies(self, env: Mapping[str, str]) -> list[str]:
        """Proxy settings for RUN, which no cache key holds unless they are declared; in lower and
        upper case, since programs look for one of them."""
        names = (set(self.outer.given) | set(self.args)) & PROXY_ARGS
        values = {**self.outer.given, **{k: v for k, v in self.args.items() if v is not None}}
        given = {name: values[name] for name in names if name in values}
        twins = {name.swapcase(): value for name, value in given.items()}
        both = {**twins, **given}
        return sorted(f"{name}={both[name]}" for name in both if name not in env)


def expand_in(
    instruction: Instruction, word: str, variables: Mapping[str, str], escape: str
) -> str:
    """Expand a word of an instruction; its error knows the instruction's place."""
    try:
        return expand(word, variables, escape)
    except ExpansionError as error:
        raise instruction.error(f"{error} in {word!r}") from None


def expand_list_in(
    instruction: Instruction, word: str, variables: Mapping[str, str], escape: str
) -> list[str]:
    """Like ``expand_in``, where blanks in a variable separate words."""
    try:
        return expand_words(word, variables, escape)
    except ExpansionError as error:
        raise instruction.error(f"{error} in {word!r}") from None
