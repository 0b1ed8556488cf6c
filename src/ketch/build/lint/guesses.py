"""Names that were meant: suggestions for a whole file, as many as take no time."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ketch.build.dockerfile.source import did_you_mean

_COMPARISONS = 20_000  # of one word with another, each some 7 µs


class Guesses:
    """Of one Dockerfile: a file that is made to have thousands of misspelt names gets no more."""

    def __init__(self) -> None:
        self._left = _COMPARISONS

    def near(self, word: str, known: Callable[[], Collection[str]]) -> str:
        """`` (did you mean X?)`` or nothing; ``known`` is asked only if there is a guess left."""
        if self._left <= 0:
            return ""
        names = known()
        self._left -= len(names)
        return did_you_mean(word, names) if self._left >= 0 else ""
