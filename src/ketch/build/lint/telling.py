"""Findings as warnings of a build under way."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from ketch.build.dockerfile.ast import Dockerfile, From, Stage
from ketch.build.dockerfile.source import excerpted
from ketch.build.lint import rules
from ketch.build.lint.check import violation
from ketch.build.lint.guesses import Guesses
from ketch.build.lint.rules import Finding
from ketch.build.lint.variables import check_variables
from ketch.build.prepared import Prepared
from ketch.build.progress.events import Report, Warned
from ketch.oci.platform import Platform, choose, parse


def tell_findings(prepared: Prepared, report: Report) -> None:
    """What the file alone told, as BuildKit has it: on the loading of the Dockerfile."""
    for finding in prepared.findings:
        _warn(report, finding, prepared.dockerfile)


class Teller:
    """What is found while a build runs."""

    def __init__(self, prepared: Prepared) -> None:
        self._dockerfile = prepared.dockerfile
        self._choice = prepared.choice
        self._guesses = Guesses()

    def check_platform(self, base: From, platform: Platform, wanted: str, report: Report) -> None:
        """When the base image is there: whether it is of the platform that was wanted."""
        if not wanted or not platform.architecture or choose([platform], parse(wanted)) is not None:
            return
        detail = (
            f"Base image {base.image} was pulled with platform "
            f'"{platform}", expected "{wanted}" for current build'
        )
        hint = f"an image that has {wanted}, or --platform={platform}"
        finding = Finding(rules.BASE_PLATFORM, detail, base.range, hint)
        self._tell([finding], report)

    def check_variables(self, stage: Stage, known: Collection[str], report: Report) -> None:
        """When it is known which variables the base has; raises the error that was asked for."""
        found = check_variables(stage, known, self._dockerfile.escape, self._guesses)
        self._tell(found, report)

    def _tell(self, found: Iterable[Finding], report: Report) -> None:
        kept = list(self._choice.kept(found))
        if kept and self._choice.error:
            raise violation(kept, self._dockerfile)
        for finding in kept:
            _warn(report, finding, self._dockerfile)


def _warn(report: Report, finding: Finding, dockerfile: Dockerfile) -> None:
    rule = finding.rule
    warned = Warned(
        report.vertex.digest,
        finding.detail,
        finding.line,
        time.time_ns(),
        rule.name,
        rule.url,
        (rule.description, f"Suggestion: {finding.suggestion}"),
        excerpted(dockerfile.source, finding.place),
    )
    report.warn_of(warned)
