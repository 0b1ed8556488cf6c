"""``-e``, ``--env-file``, ``-l`` and ``--label-file``."""

import os

from ketch.cli.flags import UsageError


def environment(given: "list[str]", files: "list[str]") -> "list[str]":
    """``-e`` over ``--env-file``; a bare name takes the caller's value, or nothing when unset.

    A name that is unset here is sent without a value: it takes an image's variable away.
    """
    words = [line for path in files for line in _lines(path)] + given
    out = []
    for word in words:
        if "=" in word:
            out.append(word)
        elif word in os.environ:
            out.append(f"{word}={os.environ[word]}")
        elif word in given:
            out.append(word)
    return out


def labels(given: "list[str]", files: "list[str]") -> "dict[str, str]":
    """``-l`` over ``--label-file``, whose lines without ``=`` say nothing, as docker has it."""
    words = [line for path in files for line in _lines(path) if "=" in line] + given
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _lines(path: str) -> "list[str]":
    """The lines of a file of ``NAME=value``; ``#`` begins a comment line."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.rstrip("\r\n").lstrip() for line in file]
    except OSError as error:
        raise UsageError(f"open {path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise UsageError(f"env file {path} contains invalid utf8 bytes") from None
    kept = [line for line in lines if line and not line.startswith("#")]
    for line in kept:
        name = line.partition("=")[0]
        if not name:
            raise UsageError(f"invalid environment variable: no variable name on line '{line}'")
        if any(char in name for char in " \t"):
            raise UsageError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
    return kept
