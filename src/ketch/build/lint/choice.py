"""Which rules count: ``# check=skip=…;error=…;experimental=…`` or ``BUILDKIT_DOCKERFILE_CHECK``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ketch.build.dockerfile.ast import Dockerfile
from ketch.build.dockerfile.source import did_you_mean
from ketch.build.lint.rules import Finding, Rule
from ketch.errors import InvalidParameter

ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Choice(msgspec.Struct, frozen=True):
    """Names in lower case, or ``all``; with ``error`` a finding ends the build."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def counts(self, rule: Rule) -> bool:
        """Whether a rule is to be looked at."""
        name = rule.name.lower()
        if rule.experimental and not self.experimental & {"all", name}:
            return False
        return not self.skip & {"all", name}

    def kept(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Those whose rules count, in the file's order."""
        kept = (finding for finding in findings if self.counts(finding.rule))
        return tuple(sorted(kept, key=lambda finding: (finding.line, finding.rule.name)))


def choice_of(dockerfile: Dockerfile, build_args: Mapping[str, str | None]) -> Choice:
    """The build argument wins over the directive; raises ``InvalidParameter`` for what is
    neither."""
    given = build_args.get(ARGUMENT)
    return parse_choice(given if given is not None else dockerfile.directives.get("check", ""))


def parse_choice(text: str) -> Choice:
    """``skip=A,B;error=true;experimental=C``."""
    found: dict[str, str] = {}
    for word in filter(None, (word.strip() for word in text.split(";"))):
        key, equals, value = word.partition("=")
        key = key.strip().lower()
        if not equals or key not in ("skip", "error", "experimental"):
            raise InvalidParameter(
                f"invalid check option {word!r}: write skip=RULE,…, experimental=RULE,… or "
                f"error=true{did_you_mean(key, ('skip', 'error', 'experimental'))}"
            )
        found[key] = value.strip()
    error = _BOOLEANS.get(found.get("error", "false").lower())
    if error is None:
        raise InvalidParameter(f"invalid check option error={found['error']}: true or false")
    return Choice(_names(found.get("skip", "")), _names(found.get("experimental", "")), error)


def _names(text: str) -> frozenset[str]:
    """Unknown ones may be of a newer version of the rules, so they are no error."""
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())
