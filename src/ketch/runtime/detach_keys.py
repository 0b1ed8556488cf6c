"""Spotting the detach keys in what a terminal client types."""


class DetachKeys:
    """Finds one key sequence in a stream; bytes that may begin it are held back until it is sure.

    An empty sequence is never found.
    """

    __slots__ = ("_keys", "_matched")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def disable(self) -> None:
        """Find nothing any more."""
        self._keys = b""

    def feed(self, data: bytes) -> "tuple[bytes, bool]":
        """(bytes to pass on, whether the sequence is complete); what follows it is dropped."""
        if not self._keys:
            return data, False
        passed = bytearray()
        for byte in data:
            while self._matched and byte != self._keys[self._matched]:
                self._shorten(passed)
            if byte != self._keys[self._matched]:
                passed.append(byte)
                continue
            self._matched += 1
            if self._matched == len(self._keys):
                self._matched = 0
                return bytes(passed), True
        return bytes(passed), False

    def _shorten(self, passed: bytearray) -> None:
        """Fall back to the longest shorter beginning that the held bytes end with."""
        held = self._keys[: self._matched]
        for length in range(self._matched - 1, -1, -1):
            if held.endswith(self._keys[:length]):
                passed += held[: self._matched - length]
                self._matched = length
                return
