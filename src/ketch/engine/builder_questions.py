"""Questions about a Dockerfile that build nothing (``--check``, ``--call``)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ketch.build.config import variables
from ketch.build.ignore import IgnoreRules, parse_ignore
from ketch.build.lint import answers
from ketch.build.lint.check import check_all
from ketch.build.lint.choice import choice_of
from ketch.build.prepared import parsed, planned
from ketch.build.source import DockerfileError
from ketch.errors import InvalidParameter, NotFound, Unsupported
from ketch.oci.image import decode

if TYPE_CHECKING:
    from ketch.build.lint.answers import Answer
    from ketch.build.options import BuildOptions
    from ketch.engine.images import Images

CALLS = {"check": answers.LINT, "outline": answers.OUTLINE, "targets": answers.TARGETS}


class Questions:
    """``images`` are asked for the variables of base images that are here; none is pulled."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def answer(
        self,
        request: str,
        data: bytes,
        ignore: bytes,
        options: BuildOptions,
        platform: dict[str, str],
    ) -> Answer:
        """Raises ``DockerfileError``, but for the lint, which answers with it."""
        if request == answers.DESCRIBE:
            return answers.describe()
        if request == answers.LINT:
            return self._lint(data, parse_ignore(ignore), options, platform)
        dockerfile = parsed(data, options)
        if request == answers.TARGETS:
            return answers.targets(dockerfile, data)
        if request == answers.OUTLINE:
            scope, plan = planned(dockerfile, options, platform)
            return answers.outline(dockerfile, plan, scope, data)
        raise Unsupported(f"the request {request!r} is not supported by ketch")

    def _lint(
        self, data: bytes, ignore: IgnoreRules, options: BuildOptions, platform: dict[str, str]
    ) -> Answer:
        try:
            dockerfile = parsed(data, options)
            planned(dockerfile, options, platform)
        except DockerfileError as error:
            return answers.lint_error(error, data)
        choice = choice_of(dockerfile, options.build_args)
        found = check_all(dockerfile, platform, choice, ignore, self._environment)
        return answers.lint(dockerfile, data, found)

    def _environment(self, image: str) -> Collection[str] | None:
        try:
            record = self._images.resolve(image)
        except (NotFound, InvalidParameter):
            return None
        return set(variables(decode(self._images.config_blob(record.id)).run))
