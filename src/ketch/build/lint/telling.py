"""Findings as warnings of a build under way."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ketch.build.ast import Stage
from ketch.build.lint.check import violation
from ketch.build.lint.rules import Finding
from ketch.build.lint.variables import check_variables
from ketch.build.prepared import Prepared
from ketch.build.progress import Report


class Teller:
    """Of one build; ``begin`` makes a vertex of the engine's own by its title."""

    def __init__(self, prepared: Prepared, begin: Callable[[str], Report]) -> None:
        self._dockerfile = prepared.dockerfile
        self._choice = prepared.choice
        self._findings = prepared.findings
        self._begin = begin

    def tell_findings(self, name: str) -> None:
        """What the file alone told, as BuildKit has it: on the loading of the Dockerfile."""
        if not self._findings:
            return
        report = self._begin(f"load build definition from {name}")
        for finding in self._findings:
            _warn(report, finding)
        report.end()

    def check_variables(self, stage: Stage, known: Collection[str], report: Report) -> None:
        """When it is known which variables the base has; raises the error that was asked for."""
        found = check_variables(stage, known, self._dockerfile.escape)
        kept = list(self._choice.kept(found))
        if kept and self._choice.error:
            raise violation(kept, self._dockerfile)
        for finding in kept:
            _warn(report, finding)


def _warn(report: Report, finding: Finding) -> None:
    rule = finding.rule
    report.warn(finding.detail, finding.line, rule=rule.name, url=rule.url)
