"""Options and directives that this builder does not honour, refused by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ketch.build.dockerfile.source import DockerfileError, Position, Range, Source
from ketch.build.dockerfile.syntax import syntax_of
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


class OtherFrontend(DockerfileError):
    """The Dockerfile is for another front end than ketch's own: its image, and the whole text of
    the directive. Clients with BuildKit's sessions get it run; others get the error."""

    def __init__(self, syntax: str, source: Source, where: Range) -> None:
        super().__init__(
            f"the front end {syntax!r:.200} is not supported: only docker/dockerfile is built in,"
            " others need a client with BuildKit sessions (docker buildx build)",
            source,
            where,
        )
        self.syntax = syntax
        self.image = syntax.split()[0]


def is_builtin(image: str) -> bool:
    """Whether an image's name is that of Dockerfile's own front end, of whatever version."""
    name = image.partition("@")[0].partition(":")[0]
    return name.removeprefix("docker.io/") in FRONTENDS


def check_syntax(data: bytes, name: str, given: str) -> None:
    """Refuse a front end other than Dockerfile's own; raises ``OtherFrontend``.

    ``given`` is the build argument BUILDKIT_SYNTAX, which wins over the directive.
    """
    syntax, line = syntax_of(data)
    syntax, line = (given.strip(), 1) if given.strip() else (syntax, line)
    if syntax and not is_builtin(syntax.split()[0]):
        source = Source.decode(name, data)
        width = len(source.lines[line - 1]) if len(source.lines) >= line else 0
        where = Range(Position(line, 1), Position(line, width + 1))
        raise OtherFrontend(syntax, source, where)
