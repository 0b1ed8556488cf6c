"""Which rules count: ``# check=skip=…;error=…;experimental=…`` or ``BUILDKIT_DOCKERFILE_CHECK``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ketch.build.dockerfile.ast import Dockerfile
from ketch.build.dockerfile.source import did_you_mean
from ketch.build.lint.rules import Finding, Rule
from ketch.errors import InvalidParameter

ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
_KEYS = ("skip", "error", "experimental")
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class Choice(msgspec.Struct, frozen=True):
    """Names as BuildKit spells them, or ``all``; with ``error`` a finding ends the build."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def counts(self, rule: Rule) -> bool:
        """Whether a rule is to be looked at."""
        if rule.experimental and not self.experimental & {"all", rule.name}:
            return False
        return not self.skip & {"all", rule.name}

    def kept(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Those whose rules count, in the file's order."""
        kept = (finding for finding in findings if self.counts(finding.rule))
        return tuple(sorted(kept, key=lambda finding: (finding.line, finding.rule.name)))


def choice_of(dockerfile: Dockerfile, build_args: Mapping[str, str | None]) -> Choice:
    """The build argument wins over the directive, which ends at a blank; raises
    ``InvalidParameter`` for what is neither."""
    given = build_args.get(ARGUMENT)
    if given is not None:
        return parse_choice(given)
    return parse_choice("".join(dockerfile.directives.get("check", "").split()[:1]))


def parse_choice(text: str) -> Choice:
    """``skip=A,B;error=true;experimental=C``; of two of a kind the later one counts, but ``all``
    stays. Names that are unknown may be of a newer version of the rules, so they are no error."""
    found: dict[str, frozenset[str]] = {}
    error = False
    for word in text.strip().split(";") if text.strip() else ():
        key, equals, value = (part.strip() for part in word.partition("="))
        if not equals or key not in _KEYS:
            raise InvalidParameter(
                f"invalid check option {word!r}: write skip=RULE,…, experimental=RULE,… or "
                f"error=true{did_you_mean(key, _KEYS)}"
            )
        if key == "error":
            error = _boolean(value)
        else:
            names = frozenset(name.strip() for name in value.split(","))
            found[key] = names | (found.get(key, frozenset()) & {"all"})
    return Choice(found.get("skip", frozenset()), found.get("experimental", frozenset()), error)


def _boolean(value: str) -> bool:
    if value not in _BOOLEANS:
        raise InvalidParameter(f"invalid check option error={value}: true or false")
    return _BOOLEANS[value]
