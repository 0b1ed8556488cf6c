"""COPY and ADD: from words to the parts of one ``CopyStep``."""

from __future__ import annotations

import hashlib
import posixpath
import re
from itertools import groupby
from urllib.parse import unquote, urlsplit

import msgspec

from ketch.build.contexts.accounts import without_account
from ketch.build.contexts.git_remote import is_git
from ketch.build.dockerfile.ast import Add, Copy, Instruction
from ketch.build.dockerfile.expand import ExpansionError, expand_text
from ketch.build.dockerfile.scope import expand_in
from ketch.build.executor import CopyPart, CopyStep, Tree
from ketch.build.failures import StepFailed
from ketch.build.progress.events import Report
from ketch.build.steps.state import StageState
from ketch.errors import InvalidParameter, KetchError, NotFound
from ketch.layers.globs import has_wildcard, literal
from ketch.layers.modes import made_mode, mode_change

_URL = re.compile(r"https?://", re.IGNORECASE)
_MISSING = re.compile(r"stat (.*): file does not exist", re.DOTALL)
_NUMBERS = re.compile(r"\d+(:\d+)?")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")
_NOTHING = f"multi:{hashlib.sha256().hexdigest()}"
_UNNAMED = "__unnamed__"  # BuildKit's name for what a URL without a path gives
_LONGEST_NAME = 255  # bytes of a file's name


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
        if step.link:
            copy = await _linked(state, copy)
        await _commit(state, step, copy, words)
    except KetchError as error:
        raise copy_failed(step, tree, error) from None


def copy_failed(step: Copy, tree: Tree, error: KetchError) -> StepFailed:
    """The failure of a step for what its executor says."""
    if isinstance(error, StepFailed):
        return error
    if isinstance(error, NotFound):
        return _missing(step, tree, error)
    return StepFailed(f"{step.name} failed: {error}")


async def _commit(state: StageState, step: Copy, copy: CopyStep, words: CopyWords) -> None:
    executor = state.shared.executor
    sums = [await state.shared.needs.checksum(part, state.report) for part in copy.parts]
    if _NOTHING in sums:
        state.report.warn(f"{step.name}: nothing matches the pattern", step.range.start.line)
    identity = _identity(step, copy, sums)
    shown = _shown(sums)
    created_by = state.shared.words.placed(
        state.run, f"{step.name} {shown} in {copy.destination} ", _told(step, copy, words)
    )

    async def make() -> str:
        return await executor.copy(copy)

    key = state.files_key(identity, bare=_stands_alone(copy))
    await state.commit(key, without_account(created_by), make)


def _identity(step: Copy, copy: CopyStep, sums: list[str]) -> str:
    marks = [("x" if part.extract else "") + ("p" if part.parents else "") for part in copy.parts]
    contents = [mark + sum for mark, sum in zip(marks, sums, strict=True)]
    return "\0".join([step.name, copy.destination, copy.owner, copy.mode, *contents])


async def _linked(state: StageState, copy: CopyStep) -> CopyStep:
    """A linked layer leaves the directories below as they are: those on the way to the destination
    are in it, and not every image has them with the mode and the owner of new ones (``/tmp``,
    somebody's home). If not, it is a layer for this image, as with Docker."""
    if copy.owner and not _NUMBERS.fullmatch(copy.owner):
        return copy
    found = await state.shared.executor.directories(tuple(state.layers), copy.destination)
    uid, _, gid = (copy.owner or "0").partition(":")
    made = (made_mode(copy.mode), int(uid), int(gid or uid))
    path = copy.destination.rstrip("/")
    there = len(found) == path.count("/")  # which a layer alone would not know
    return msgspec.structs.replace(
        copy,
        destination=f"{path}/" if there else copy.destination,
        link=all(directory == made for directory in found),
    )


def _stands_alone(copy: CopyStep) -> bool:
    """Whether the layer is the same on any base: then it outlives a new base image."""
    return copy.link and (not copy.owner or bool(_NUMBERS.fullmatch(copy.owner)))


def _told(step: Copy, copy: CopyStep, words: CopyWords) -> str:
    """BuildKit's words for it."""
    inline = {document.word: f"<<{document.name}" for document in step.heredocs}
    parts = [step.name]
    parts += [f"--chown={copy.owner}"] if copy.owner else []
    parts += [f"--chmod={copy.mode}"] if copy.mode else []
    parts += [source for source in words.sources if source not in inline]
    parts += [inline[source] for source in words.sources if source in inline]
    return " ".join([*parts, words.destination, "# buildkit"])


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
            warn_comment(state.report, step)
    inline = {document.word for document in step.heredocs}
    return CopyWords(
        tuple(word if word in inline else _expand(state, step, word) for word in sources),
        _expand(state, step, destination),
    )


def warn_comment(report: Report, step: Instruction) -> None:
    """Say that words at the end of a line were taken for a comment."""
    if step.comment is not None:
        line = step.comment.range.start.line
        report.warn(comment_warning(line, step.comment.text), line)


def comment_warning(line: int, text: str) -> str:
    """The sentence about a trailing comment."""
    return (
        f"line {line}: {text!r} is taken for a comment; Docker takes it for arguments and fails, "
        "so give comments lines of their own"
    )


async def _parts(
    state: StageState, step: Copy, tree: Tree, words: CopyWords
) -> tuple[CopyPart, ...]:
    inline = {document.word: document for document in step.heredocs}
    sources = [source for source in words.sources if source not in inline]
    _check_sources(step, words)
    parts: list[CopyPart] = []
    for remote, group in groupby(sources, lambda word: isinstance(step, Add) and is_remote(word)):
        if remote and isinstance(step, Add):
            parts += [await _remote(state, step, url) for url in group]
        else:
            parts.append(_local(state, step, tree, tuple(group)))
    files = _inline_files(state, step)
    if files:
        tree = await state.shared.executor.inline(files)
        parts.append(CopyPart(tree, tuple(literal(name) for name, _ in files)))
    return tuple(parts)


def _check_sources(step: Copy, words: CopyWords) -> None:
    if isinstance(step, Add) and step.checksum:
        if step.heredocs or not all(is_remote(source) for source in words.sources):
            raise step.error("--checksum is for sources by HTTP(S) or git only")
        if len(words.sources) > 1:
            raise step.error("--checksum can't be given for several sources")
    if not isinstance(step, Add) and any(is_url(source) for source in words.sources):
        raise step.error("a source of COPY can't be a URL: use ADD")


def _local(state: StageState, step: Copy, tree: Tree, sources: tuple[str, ...]) -> CopyPart:
    unpack = isinstance(step, Add) and step.unpack is not False
    paths = tuple(_relative(step, source) for source in sources)
    owners = tree.kind == "layers" and not step.chown
    return CopyPart(tree, paths, unpack, step.parents, _excludes(state, step), owners)


def _excludes(state: StageState, step: Copy) -> tuple[str, ...]:
    return tuple(_expand(state, step, pattern) for pattern in step.excludes)


async def _remote(state: StageState, step: Add, url: str) -> CopyPart:
    """A URL or a git repository."""
    needs = state.shared.needs
    checksum = _expand(state, step, step.checksum)
    if is_git(url):
        tree = await needs.repository(
            url, checksum, keep_git_dir=step.keep_git_dir, report=state.report
        )
        return CopyPart(tree, (".",), excludes=_excludes(state, step))
    if checksum and not _CHECKSUM.fullmatch(checksum):
        raise step.error(f"invalid checksum {checksum!r}: write sha256: and 64 hexadecimal digits")
    try:
        name = _url_name(url)
    except ValueError as error:
        raise step.error(f"invalid URL {url}: {error}") from None
    tree = await needs.url(url, name, checksum, state.report)
    return CopyPart(tree, (literal(name),), step.unpack is True)


def _inline_files(state: StageState, step: Copy) -> tuple[tuple[str, bytes], ...]:
    files: dict[str, bytes] = {}  # of two with one name the later is copied over the first
    for document in step.heredocs:
        text = document.text
        try:
            if document.expand:
                text = expand_text(text, state.variables())  # whatever the file's escape is
        except ExpansionError as error:
            raise step.error(f"{error} in the here-document {document.name}") from None
        name = document.name
        if "/" in name or name in (".", "..") or len(name.encode()) > _LONGEST_NAME:
            raise step.error(f"{name!r:.300} can't be the name of an inline file")
        files[name] = text.encode()
    return tuple(files.items())


def is_remote(source: str) -> bool:
    """Whether ADD fetches it: a URL or a git repository."""
    return is_url(source) or is_git(source)


def is_url(source: str) -> bool:
    """Whether it begins as URLs of http and https do."""
    return bool(_URL.match(source))


def _url_name(url: str) -> str:
    name = posixpath.basename(unquote(urlsplit(url).path).rstrip("/")) or _UNNAMED
    return name if name not in (".", "..") and "\0" not in name else "download"


def _relative(step: Copy, source: str) -> str:
    """A source below its tree's root, which is its own parent, as in BuildKit."""
    if step.parents and ".." in source.split("/"):
        raise StepFailed(f"{step.name} failed: {source}: with --parents a path has no ..")
    if step.parents:
        return source.lstrip("/") or "."  # where a ``/./`` stands matters
    cleaned = posixpath.normpath("/" + source).lstrip("/") or "."
    return cleaned + "/" if source.endswith("/") and cleaned != "." else cleaned


def _destination(state: StageState, step: Copy, words: CopyWords) -> str:
    text = words.destination
    many = (
        step.parents
        or len(words.sources) > 1
        or any(has_wildcard(source) for source in words.sources)
    )
    directory = step.parents or text.endswith(("/", "/.", "/..")) or text in (".", "..", "")
    path = posixpath.normpath(posixpath.join("/", state.run.working_dir, text))
    path = "/" + path.lstrip("/")
    keeps = directory or (many and text.endswith("/"))
    return path + "/" if keeps and path != "/" else path


def _mode(step: Copy, text: str) -> str:
    try:
        if text:
            mode_change(text)
    except InvalidParameter:
        raise step.error(
            f"invalid chmod value {text!r}: write an octal mode such as 755, or changes such as "
            "u=rwX,go=rX"
        ) from None
    return text


def _expand(state: StageState, step: Copy, word: str) -> str:
    return expand_in(step, word, state.variables(), state.shared.scope.escape)


def _missing(step: Copy, tree: Tree, error: NotFound) -> StepFailed:
    """Also in BuildKit's words, by which people know it."""
    match = _MISSING.fullmatch(str(error))
    if match is None:
        return StepFailed(f"{step.name} failed: {error}")
    told = f'failed to compute cache key: "/{match[1].lstrip("/")}": not found'
    if tree.kind == "context":
        place = "file not found in build context or excluded by .dockerignore"
        return StepFailed(f"{step.name} failed: {place}: {error}", 0, f"{told}: {place}")
    return StepFailed(f"{step.name} failed: {error}", 0, told)
