"""Restart policies: whether a container that ended is started again, and when (pure).

Docker's rules: the delay starts at 100 ms and doubles up to one minute; it starts anew when the
container ran for at least ten seconds.
"""

from __future__ import annotations

from ketch.engine.containers.spec import RestartPolicy

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 60.0
_STEADY_RUN = 10.0


def wanted(
    policy: RestartPolicy, *, exit_code: int, restart_count: int, stopped_by_user: bool
) -> bool:
    """Whether the policy asks for another start after an exit."""
    if stopped_by_user:
        return False
    if policy.name in ("always", "unless-stopped"):
        return True
    if policy.name == "on-failure" and exit_code != 0:
        return policy.max_retries == 0 or restart_count < policy.max_retries
    return False


def wanted_at_boot(
    policy: RestartPolicy, *, exit_code: int, restart_count: int, stopped_by_user: bool
) -> bool:
    """Whether a container that does not run is started when the engine starts.

    ``always`` forgets who stopped it; the number of ``on-failure`` counts on.
    """
    return policy.name == "always" or wanted(
        policy,
        exit_code=exit_code,
        restart_count=restart_count,
        stopped_by_user=stopped_by_user,
    )


def next_delay(previous: float, ran_for: float) -> float:
    """Seconds before the next start; ``previous`` is the delay of last time (0 = never)."""
    if previous <= 0 or ran_for >= _STEADY_RUN:
        return _FIRST_DELAY
    return min(previous * 2, _LONGEST_DELAY)
