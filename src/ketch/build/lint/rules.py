"""The rules by BuildKit's names, with the pages of Docker's documentation that explain them."""

from __future__ import annotations

import re

import msgspec

from ketch.build.dockerfile.source import Range

_URL = "https://docs.docker.com/go/dockerfile/rule/"
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Rule(msgspec.Struct, frozen=True):
    """``description`` says what is asked; an experimental rule is off unless asked for; one of
    ``steps`` says nothing of stages that are not built."""

    name: str
    description: str
    experimental: bool = False
    steps: bool = False

    @property
    def url(self) -> str:
        """Docker's page about it."""
        return f"{_URL}{_WORD.sub('-', self.name).lower()}/"


class Finding(msgspec.Struct, frozen=True):
    """A rule broken at a place; ``detail`` says how, ``suggestion`` what to write instead."""

    rule: Rule
    detail: str
    place: Range
    suggestion: str

    @property
    def line(self) -> int:
        """Where it begins, from 1."""
        return self.place.start.line


STAGE_NAME_CASING = Rule("StageNameCasing", "Names of stages are written in lower case")
FROM_AS_CASING = Rule("FromAsCasing", "AS is written in the case of its FROM")
NO_EMPTY_CONTINUATION = Rule(
    "NoEmptyContinuation", "An instruction that goes on in further lines has no empty ones"
)
CONSISTENT_CASING = Rule(
    "ConsistentInstructionCasing", "Instructions are all in upper or all in lower case"
)
DUPLICATE_STAGE = Rule("DuplicateStageName", "Each stage has a name of its own")
RESERVED_STAGE = Rule("ReservedStageName", "scratch and context have a meaning of their own")
JSON_ARGS = Rule(
    "JSONArgsRecommended",
    "CMD and ENTRYPOINT in JSON form pass signals on to the program",
    steps=True,
)
MAINTAINER = Rule("MaintainerDeprecated", "MAINTAINER is deprecated: an author is a label")
UNDEFINED_FROM = Rule("UndefinedArgInFrom", "FROM takes variables of ARGs before the first FROM")
UNDEFINED_VAR = Rule("UndefinedVar", "A variable is declared before it is used", steps=True)
WORKDIR_RELATIVE = Rule(
    "WorkdirRelativePath",
    "The first WORKDIR does not depend on that of the base image",
    steps=True,
)
SECRETS = Rule(
    "SecretsUsedInArgOrEnv",
    "ARG and ENV stay in the image: nothing secret in them",
    steps=True,
)
LEGACY_FORMAT = Rule("LegacyKeyValueFormat", "Key and value are joined by =", steps=True)
MULTIPLE = Rule(
    "MultipleInstructionsDisallowed",
    "Of CMD, ENTRYPOINT and HEALTHCHECK only the last one counts",
    steps=True,
)
REDUNDANT_PLATFORM = Rule(
    "RedundantTargetPlatform", "The platform of FROM is that of the target anyway"
)
CONST_PLATFORM = Rule(
    "FromPlatformFlagConstDisallowed", "A constant platform of FROM ignores the one asked for"
)
COPY_IGNORED = Rule(
    "CopyIgnoredFile",
    "What is copied is not excluded by .dockerignore",
    experimental=True,
    steps=True,
)
INVALID_DEFAULT = Rule(
    "InvalidDefaultArgInFrom", "The defaults of ARGs make a valid image name in FROM"
)
BASE_PLATFORM = Rule("InvalidBaseImagePlatform", "The base image is of the platform of the build")
EXPOSE_CASING = Rule(
    "ExposeProtoCasing", "Protocols in EXPOSE are written in lower case", steps=True
)
EXPOSE_FORMAT = Rule(
    "ExposeInvalidFormat", "EXPOSE has ports of the container, nothing else", steps=True
)
DESCRIPTION = Rule(
    "InvalidDefinitionDescription",
    "A comment on a stage or an argument begins with its name",
    experimental=True,
)
RULES: dict[str, Rule] = {
    rule.name.lower(): rule
    for rule in (
        *(STAGE_NAME_CASING, FROM_AS_CASING, NO_EMPTY_CONTINUATION, CONSISTENT_CASING),
        *(DUPLICATE_STAGE, RESERVED_STAGE, JSON_ARGS, MAINTAINER, UNDEFINED_FROM, UNDEFINED_VAR),
        *(WORKDIR_RELATIVE, SECRETS, LEGACY_FORMAT, MULTIPLE, REDUNDANT_PLATFORM, CONST_PLATFORM),
        *(COPY_IGNORED, INVALID_DEFAULT, BASE_PLATFORM, EXPOSE_CASING, EXPOSE_FORMAT, DESCRIPTION),
    )
}
