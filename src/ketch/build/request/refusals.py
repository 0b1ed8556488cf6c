"""Options and directives that this builder does not honour, refused by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ketch.build.dockerfile.ast import Dockerfile
from ketch.build.dockerfile.source import DockerfileError, Position, Range
from ketch.build.request.options import BuildOptions
from ketch.errors import Forbidden, Unsupported

_ISOLATIONS = ("", "default")
FRONTENDS = ("docker/dockerfile", "docker/dockerfile-upstream")


def check_options(options: BuildOptions) -> None:
    """Raises ``Unsupported``."""
    if options.squash:
        raise Unsupported("squash is not supported: use a last stage with COPY --from instead")
    if options.security_options:
        words = ", ".join(options.security_options)
        raise Unsupported(f"securityopt is not supported for builds: {words}")
    if "device" in options.allow:
        raise Unsupported("the entitlement device is not supported: RUN has no --device")
    if options.isolation not in _ISOLATIONS:
        raise Unsupported(f"the isolation {options.isolation!r} is not supported on Linux")


def check_grants(asked: Iterable[str], grantable: Collection[str]) -> None:
    """Raises ``Forbidden`` when a build asks for more than the daemon's configuration grants."""
    for name in asked:
        if name not in grantable:
            raise Forbidden(
                f"granting entitlement {name} is not allowed by build daemon configuration: see"
                f" builder.entitlements.{name.replace('.', '-')} in daemon.json"
            )


def check_syntax(dockerfile: Dockerfile, given: str) -> None:
    """Refuse a front end other than Dockerfile's own; raises ``DockerfileError``.

    ``given`` is the build argument BUILDKIT_SYNTAX, which wins over the directive.
    """
    syntax = given or dockerfile.directives.get("syntax", "")
    name = syntax.partition("@")[0].partition(":")[0].removeprefix("docker.io/")
    if syntax and name not in FRONTENDS:
        where = Range(Position(1, 1), Position(1, len(dockerfile.source.lines[0]) + 1))
        raise DockerfileError(
            f"the front end {syntax!r} is not supported: only docker/dockerfile is built in",
            dockerfile.source,
            where,
        )
