"""Questions about a Dockerfile that build nothing (``--check``, ``--call``)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from ketch.build.contexts import named_contexts
from ketch.build.contexts.ignore import IgnoreRules, parse_ignore
from ketch.build.dockerfile.expand import ExpansionError, expand
from ketch.build.dockerfile.plan import make_plan
from ketch.build.dockerfile.source import DockerfileError
from ketch.build.lint import answers
from ketch.build.lint.check import check_all, violated
from ketch.build.lint.choice import choice_of
from ketch.build.prepared import Prepared, global_scope, parsed, planned
from ketch.build.rehearsal import rehearse
from ketch.build.steps.image_config import variables
from ketch.engine.progress import all_of
from ketch.errors import InvalidParameter, KetchError, NotFound, Unsupported
from ketch.oci import platform as platforms
from ketch.oci import reference as references
from ketch.oci.image import decode

if TYPE_CHECKING:
    from ketch.build.dockerfile.ast import Dockerfile
    from ketch.build.dockerfile.scope import GlobalScope
    from ketch.build.lint.answers import Answer
    from ketch.build.request.options import BuildOptions
    from ketch.engine.builder.room import BuildRoom
    from ketch.oci.platform import Platform

CALLS = {"check": answers.LINT, "outline": answers.OUTLINE, "targets": answers.TARGETS}


_PATIENCE = 15.0  # seconds for all registries


class Questions:
    """Asked within a build's room. Of base images that are not here the configuration is looked at
    in their registry; nothing is pulled. One that can't be had is not known: nothing is said about
    its variables."""

    def __init__(self, room: BuildRoom) -> None:
        self._room = room
        self._images = room.parts.images

    async def answer(
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
            return await self._lint(data, parse_ignore(ignore), options, platform)
        dockerfile = parsed(data, options)
        if request == answers.TARGETS:
            return answers.targets(dockerfile, data)
        if request == answers.OUTLINE:
            scope, plan = planned(dockerfile, options, platform)
            return answers.outline(dockerfile, plan, scope, data)
        raise Unsupported(f"the request {request!r} is not supported by ketch")

    async def _lint(
        self, data: bytes, ignore: IgnoreRules, options: BuildOptions, platform: dict[str, str]
    ) -> Answer:
        try:
            dockerfile = parsed(data, options)
            scope = global_scope(dockerfile, options, platform)
        except DockerfileError as error:
            return answers.lint_error(error, data)
        choice = choice_of(dockerfile, options.build_args)
        try:
            plan = make_plan(dockerfile, scope, options.target, options.contexts)
        except DockerfileError as error:
            found = check_all(dockerfile, scope, choice, ignore, lambda _: None)
            return answers.lint(dockerfile, data, found, error)
        configs = await self._configs(dockerfile, scope, platform)
        known = {
            word: {"PATH", *variables(decode(config).run)} for word, (_, config) in configs.items()
        }
        built = plan.indices() if options.target else None
        found = check_all(dockerfile, scope, choice, ignore, known.get, built)
        prepared = Prepared(dockerfile, plan, scope, options)
        fault = await rehearse(prepared, dict(configs.values()))
        if fault is None and found and choice.error:
            fault = InvalidParameter(violated(found))
        return answers.lint(dockerfile, data, found, fault)

    async def _configs(
        self, dockerfile: Dockerfile, scope: GlobalScope, platform: dict[str, str]
    ) -> dict[str, tuple[str, bytes]]:
        """Names of base images and their configurations, by the words of FROM."""
        stages = {stage.base.alias for stage in dockerfile.stages} | {"scratch"}
        words = {stage.base.image for stage in dockerfile.stages} - stages
        target = platforms.parse(platform["TARGETPLATFORM"])
        found: dict[str, tuple[str, bytes]] = {}

        async def look(word: str) -> None:
            try:
                image = expand(word, scope.variables(), scope.escape)
                found[word] = (image, await self._config(image, target))
            except (ExpansionError, KetchError):
                return

        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await all_of(map(look, words))
        return found

    async def _config(self, image: str, target: Platform) -> bytes:
        options = self._room.options
        named = named_contexts.find(options.contexts, image)
        if named is not None and named.startswith(named_contexts.INPUT):
            return options.inputs[named.removeprefix(named_contexts.INPUT)].config
        if named is not None and not named.startswith(named_contexts.IMAGE):
            raise NotFound(f"{image} is no image of a registry")
        reference = (named or image).removeprefix(named_contexts.IMAGE)
        try:
            return self._images.config_blob(self._images.resolve(reference).id)
        except NotFound:
            auth = await self._room.account(references.parse(reference))
            return await self._images.remote_config(reference, target, auth)
