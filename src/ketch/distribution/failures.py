"""From a registry's refusal to an error that says what to do."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from ketch.errors import Forbidden, KetchError, NotFound, Unauthorized, Unavailable

_LONGEST = 300


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []
    details: str = ""  # what token servers say


class Refusal(msgspec.Struct, frozen=True):
    """Status and words of an answer that is no success."""

    status: int
    code: str = ""
    message: str = ""

    def __str__(self) -> str:
        words = [self.code.lower().replace("_", " "), self.message]
        said = ": ".join(word for word in words if word)
        return said or f"unexpected status {self.status} {_phrase(self.status)}".rstrip()


def refusal(status: int, body: bytes) -> Refusal:
    """Read the body of an answer (distribution specification, "Error Codes")."""
    try:
        decoded = msgspec.json.decode(body, type=_Errors)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Refusal(status)
    if decoded.errors:
        first = decoded.errors[0]
        return Refusal(status, _printable(first.code), _printable(first.message))
    return Refusal(status, "", _printable(decoded.details))


def error_for(what: str, answer: Refusal) -> KetchError:
    """The error of an answer; ``what`` says what was asked, as ``failed to …``."""
    if answer.status == 404:
        return NotFound(f"{what}: not found")
    if answer.status == 401:
        return Unauthorized(
            f"{what}: {_verb(what)} access denied, repository does not exist or may require"
            f" authorization: {answer}"
        )
    if answer.status == 403:
        return Forbidden(f"{what}: access denied: {answer}")
    if answer.status == 429:
        return Unavailable(
            f"{what}: too many requests: the registry limits how often it may be asked;"
            f" wait, or log in ({answer})"
        )
    if answer.status >= 500:
        return Unavailable(f"{what}: the registry failed with status {answer.status} ({answer})")
    return KetchError(f"{what}: unexpected status {answer.status} ({answer})")


def _verb(what: str) -> str:
    return "push" if what.startswith("failed to push") else "pull"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _printable(text: str) -> str:
    """What a stranger says, cut and without control characters, for a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST])
