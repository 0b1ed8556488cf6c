"""The answer of ``GET /ketch/containers/{id}/why``."""

from __future__ import annotations

from typing import Any

from ketch.api import times
from ketch.api.convert_container import health_json
from ketch.engine.why.values import Explanation


def why_json(found: Explanation) -> dict[str, Any]:
    """The document; ``Summary`` is the text of the first finding."""
    return {
        "Id": found.container_id,
        "Name": found.name,
        "Status": found.status,
        "ExitCode": found.exit_code,
        "Signal": found.signal,
        "Summary": found.findings[0].text if found.findings else "",
        "Findings": [
            {
                "Kind": finding.kind,
                "Certainty": finding.certainty,
                "Text": finding.text,
                "Details": finding.details,
            }
            for finding in found.findings
        ],
        "Exits": [
            {
                "StartedAt": times.rfc3339(run.started_at),
                "FinishedAt": times.rfc3339(run.at),
                "ExitCode": run.exit_code,
                "Signal": run.signal,
                "OOMKilled": run.oom,
                "Cause": run.cause,
            }
            for run in found.exits
        ],
        "Health": health_json(found.health) if found.health is not None else None,
        "Log": list(found.log),
    }
