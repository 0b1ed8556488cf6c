"""Waiting for the end of a start."""

from __future__ import annotations

import asyncio

from ketch.engine.containers.start_waits import StartWaits

LONG = 60.0


async def _begun(*waits: asyncio.Task[None]) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)


async def test_one_that_gave_up_leaves_the_others_waiting() -> None:
    starts = StartWaits()
    patient = asyncio.create_task(starts.wait("a", LONG))
    await _begun(patient)
    await starts.wait("a", 0)
    starts.over("a")
    await asyncio.wait_for(patient, LONG / 2)


async def test_only_who_waits_for_it_hears_of_it() -> None:
    starts = StartWaits()
    first, second = (asyncio.create_task(starts.wait(key, LONG)) for key in "ab")
    await _begun(first, second)
    starts.over("a")
    await first
    assert not second.done()
    starts.over("b")
    await second


async def test_nothing_stays() -> None:
    starts = StartWaits()
    await starts.wait("a", 0)
    cancelled = asyncio.create_task(starts.wait("b", LONG))
    await _begun(cancelled)
    cancelled.cancel()
    await asyncio.wait({cancelled})
    starts.over("never waited for")
    assert vars(starts) == {"_waiting": {}}
