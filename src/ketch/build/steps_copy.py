"""COPY and ADD: from words to the parts of one ``CopyStep``."""

from __future__ import annotations

import hashlib
import posixpath
import re
from urllib.parse import unquote, urlsplit

import msgspec

from ketch.build.ast import Add, Copy
from ketch.build.executor import CopyPart, CopyStep, Tree
from ketch.build.expand import ExpansionError, expand_text
from ketch.build.failures import StepFailed
from ketch.build.globs import has_wildcard
from ketch.build.scope import expand_in
from ketch.build.state import StageState, nop_file
from ketch.errors import KetchError, NotFound

_URL = re.compile(r"https?://", re.IGNORECASE)
_GIT = re.compile(r"(?:git@|git://|ssh://)|https?://[^#?]*\.git(?:[#?].*)?$", re.IGNORECASE)
_MODE = re.compile(r"0?[0-7]{3,4}")


class CopyWords(msgspec.Struct, frozen=True):
    """The words after expansion."""

    sources: tuple[str, ...]
    destination: str


async def do_copy(state: StageState, step: Copy, tree: Tree) -> None:
    """COPY or ADD with files of ``tree`` (and inline ones and URLs)."""
    words = await _words(state, step, tree)
    parts = await _parts(state, step, tree, words)
    copy = CopyStep(
        layers=tuple(state.layers),
        parts=parts,
        destination=_destination(state, step, words),
        owner=_expand(state, step, step.chown),
        mode=_mode(step, _expand(state, step, step.chmod)),
    )
    try:
        await _commit(state, step, copy)
    except NotFound as error:
        raise StepFailed(_missing(step, tree, error)) from None
    except StepFailed:
        raise
    except KetchError as error:
        raise StepFailed(f"{step.name} failed: {error}") from None


async def _commit(state: StageState, step: Copy, copy: CopyStep) -> None:
    executor = state.shared.executor
    sums = [await executor.checksum(part.tree, part.sources) for part in copy.parts]
    identity = "\0".join(
        [
            step.name,
            copy.destination,
            copy.owner,
            "" if copy.mode is None else oct(copy.mode),
            *(
                f"{'x' if part.extract else ''}{s}"
                for part, s in zip(copy.parts, sums, strict=True)
            ),
        ]
    )
    shown = _shown(sums)
    created_by = nop_file(state.run, f"{step.name} {shown} in {copy.destination} ")

    async def make() -> str:
        return await executor.copy(copy)

    await state.commit(identity, created_by, make)


def _shown(sums: list[str]) -> str:
    """``file:…``, ``dir:…`` or ``multi:…`` for the history."""
    if len(sums) == 1:
        return sums[0]
    return "multi:" + hashlib.sha256("\0".join(sums).encode()).hexdigest()


async def _words(state: StageState, step: Copy, tree: Tree) -> CopyWords:
    """Decide what a lone ``#`` means: a comment unless there is a source of that name."""
    sources, destination = step.sources, step.destination
    if step.comment is not None:
        between = "#" in step.with_comment[:-1]
        if between and await state.shared.executor.exists(tree, "#"):
            sources, destination = step.with_comment[:-1], step.with_comment[-1]
        else:
            warn_comment(state, step)
    inline = {document.word for document in step.heredocs}
    return CopyWords(
        tuple(word if word in inline else _expand(state, step, word) for word in sources),
        _expand(state, step, destination),
    )


def warn_comment(state: StageState, step: Copy) -> None:
    """Say that words were taken for a comment."""
    if step.comment is not None:
        line = step.comment.range.start.line
        state.report.warn(comment_warning(line, step.comment.text), line)


def comment_warning(line: int, text: str) -> str:
    """The sentence about a trailing comment."""
    return (
        f"line {line}: {text!r} is taken for a comment; Docker takes it for arguments and fails, "
        "so give comments lines of their own"
    )


async def _parts(
    state: StageState, step: Copy, tree: Tree, words: CopyWords
) -> tuple[CopyPart, ...]:
    executor = state.shared.executor
    add = isinstance(step, Add)
    inline = {document.word: document for document in step.heredocs}
    plain = [s for s in words.sources if s not in inline and not (add and _is_remote(s))]
    parts = [CopyPart(tree, tuple(_relative(step, s) for s in plain), add)] if plain else []
    for url in [s for s in words.sources if add and _is_remote(s)]:
        name = _url_name(step, url, words.destination)
        parts.append(CopyPart(await executor.fetch(url, name), (name,)))
    files = _inline_files(state, step)
    if files:
        parts.append(CopyPart(await executor.inline(files), tuple(name for name, _ in files)))
    return tuple(parts)


def _inline_files(state: StageState, step: Copy) -> tuple[tuple[str, bytes], ...]:
    files = []
    for document in step.heredocs:
        text = document.text
        try:
            if document.expand:
                text = expand_text(text, state.variables(), state.shared.scope.escape)
        except ExpansionError as error:
            raise step.error(f"{error} in the here-document {document.name}") from None
        if "/" in document.name or document.name in (".", ".."):
            raise step.error(f"{document.name!r} can't be the name of an inline file")
        files.append((document.name, text.encode()))
    return tuple(files)


def _is_remote(source: str) -> bool:
    return bool(_URL.match(source) or _GIT.match(source))


def _url_name(step: Copy, url: str, destination: str) -> str:
    if _GIT.match(url):
        raise step.error(f"ADD from a git repository ({url}) is not supported by this builder")
    name = posixpath.basename(unquote(urlsplit(url).path))
    if not name and destination.endswith("/"):
        raise step.error(f"cannot determine filename from url: {url}")
    return name if name not in ("", ".", "..") and "\0" not in name else "download"


def _relative(step: Copy, source: str) -> str:
    """A source below its tree's root; raises for one that leaves it."""
    depth = 0
    for part in source.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            raise StepFailed(
                f"{step.name} failed: forbidden path outside the build context: {source} ()"
            )
    cleaned = posixpath.normpath("/" + source).lstrip("/") or "."
    return cleaned + "/" if source.endswith("/") and cleaned != "." else cleaned


def _destination(state: StageState, step: Copy, words: CopyWords) -> str:
    text = words.destination
    many = len(words.sources) > 1 or any(has_wildcard(source) for source in words.sources)
    if len(words.sources) > 1 and not text.endswith("/") and text not in (".", "..", ""):
        raise StepFailed(
            f"When using {step.name} with more than one source file, the "
            "destination must be a directory and end with a /"
        )
    directory = text.endswith(("/", "/.", "/..")) or text in (".", "..", "")
    path = posixpath.normpath(posixpath.join("/", state.run.working_dir, text))
    path = "/" + path.lstrip("/")
    keeps = directory or (many and text.endswith("/"))
    return path + "/" if keeps and path != "/" else path


def _mode(step: Copy, text: str) -> int | None:
    if not text:
        return None
    if not _MODE.fullmatch(text):
        raise step.error(f"invalid chmod value {text!r}: write an octal mode such as 755 or 0644")
    return int(text, 8)


def _expand(state: StageState, step: Copy, word: str) -> str:
    return expand_in(step, word, state.variables(), state.shared.scope.escape)


def _missing(step: Copy, tree: Tree, error: NotFound) -> str:
    if tree.kind == "context" and str(error).startswith("stat "):
        place = "file not found in build context or excluded by .dockerignore: "
        return f"{step.name} failed: {place}{error}"
    return f"{step.name} failed: {error}"
