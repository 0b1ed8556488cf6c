"""A large context: the engine is sent its Dockerfile, then asks for the paths that steps name.

The demands come as lines of one answer; what each wants goes back as a tar archive in a request of
its own (docs/beyond.md). All of it in a thread, beside the build's own exchange.
"""

from ketch.cli import context
from ketch.cli.flags import Failure
from ketch.client.api import quote
from ketch.errors import KetchError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ketch.cli.build_context import Directories
    from ketch.client.api import Client


class Bringing:
    """Brings what a build asks for as long as it runs."""

    def __init__(self, client: "Client", token: str, directories: "Directories") -> None:
        import threading

        self._client = client
        self._route = f"/ketch/builds/offers/{quote(token)}"
        self._directories = directories
        self._failure = ""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            for demand in self._client.json_lines("GET", f"{self._route}/demands"):
                self._bring(demand)
        except KetchError:
            return  # the build is over, and its own exchange says how

    def _bring(self, demand: "dict[str, Any]") -> None:
        query = {"number": demand["Number"]}
        pieces = self._pieces(demand["Name"], demand["Paths"])
        headers = {"Content-Type": "application/x-tar"}
        try:
            self._client.stream("PUT", f"{self._route}/context", query, pieces, headers).body()
        except KetchError as error:
            if error.from_engine or isinstance(error, Unavailable):
                raise
            self._fail(error)
        except (Failure, OSError, ValueError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """The connection ended in the middle of the archive, so the build fails."""
        self._failure = self._failure or f"failed to read the build context: {error}"

    def _pieces(self, name: str, paths: "list[str]") -> "Iterator[bytes]":
        whose = self._directories
        folder, dockerfile = (whose.named[name], "") if name else (whose.path, whose.dockerfile)
        return context.some(folder, paths, dockerfile)

    def check(self) -> None:
        """Raises ``Failure`` for what could not be read: the engine only knows that it ended."""
        if self._failure:
            raise Failure(self._failure)
