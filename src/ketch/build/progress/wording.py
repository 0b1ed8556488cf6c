"""How the steps of a build are told in the image's history.

Tools that read ``docker history`` know two dialects: the classic builder's, which the plain ``POST
/build`` speaks (``/bin/sh -c #(nop)  CMD ["x"]``), and BuildKit's (``CMD ["x"]``), which its own
clients get and ``ketch build``: what today's ``docker build`` makes is what it makes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ketch.build.steps.image_config import shell_words
from ketch.oci.image import RunConfig


class Classic:
    """The classic builder's."""

    comment = ""
    author = True  # each step names the image's author
    args_escaped = False  # a mark that CMD leaves in the configuration

    def configured(self, run: RunConfig, text: str, _: str | None = "") -> str:
        """A step that only changed the configuration. BuildKit's text may be another one, or None
        where it has no entry."""
        return self.placed(run, f" {text}")

    def placed(self, run: RunConfig, text: str, _: str = "") -> str:
        """WORKDIR, COPY and ADD, which have one blank less."""
        return " ".join([*shell_words(run), f"#(nop) {text}"])

    def ran(self, argv: Sequence[str], seen: Sequence[str], _: Sequence[str] = ()) -> str:
        """A RUN with the arguments that it sees; BuildKit tells all that are declared."""
        return " ".join([*_counted(seen), *argv])


class BuildKit(Classic):
    """BuildKit's."""

    comment = "buildkit.dockerfile.v0"
    author = False
    args_escaped = True

    def configured(self, run: RunConfig, text: str, other: str | None = "") -> str:
        """The instruction, expanded."""
        return "" if other is None else other or text

    def placed(self, run: RunConfig, text: str, other: str = "") -> str:
        """WORKDIR, COPY and ADD."""
        return other or text

    def ran(self, argv: Sequence[str], seen: Sequence[str], declared: Sequence[str] = ()) -> str:
        """A RUN."""
        return " ".join(["RUN", *_counted(declared), *argv, "# buildkit"])


def _counted(args: Sequence[str]) -> list[str]:
    return [f"|{len(args)}", *args] if args else []
