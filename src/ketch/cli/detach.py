"""Detach keys: ``ctrl-p,ctrl-q`` by default, any list of ``ctrl-X`` and letters (docker attach)."""

from ketch.cli.flags import UsageError

DEFAULT = "ctrl-p,ctrl-q"


def chosen(flag: str) -> str:
    """``--detach-keys``, else ``detachKeys`` of config.json, else empty for the default."""
    if flag:
        return flag
    from ketch.client import config_file

    value = config_file.load().get("detachKeys")
    return value if isinstance(value, str) else ""


def parse(keys: str) -> bytes:
    """The byte sequence of ``ctrl-a,b``; raises ``UsageError``."""
    sequence = bytearray()
    for key in (keys or DEFAULT).split(","):
        if len(key) == 1:
            sequence.append(ord(key) & 0xFF)
        elif (
            len(key) == 6
            and key.startswith("ctrl-")
            and ("a" <= key[5] <= "z" or key[5] in "@[\\]^_")
        ):
            sequence.append(ord(key[5].upper()) & 0x1F)
        else:
            raise UsageError(
                f"invalid detach keys {keys!r}: use letters and ctrl-X, parted by commas"
            )
    return bytes(sequence)


class Detector:
    """Watches typed bytes for the sequence; holds back a beginning of it until it is decided."""

    def __init__(self, keys: str) -> None:
        self.sequence = parse(keys)
        self.pending = b""

    def feed(self, data: bytes) -> "tuple[bytes, bool]":
        """(bytes to pass on, whether the sequence is complete)."""
        data = self.pending + data
        position = data.find(self.sequence)
        if position >= 0:
            self.pending = b""
            return data[:position], True
        for length in range(min(len(self.sequence) - 1, len(data)), 0, -1):
            if self.sequence.startswith(data[-length:]):
                self.pending = data[-length:]
                return data[:-length], False
        self.pending = b""
        return data, False
