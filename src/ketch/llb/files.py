"""Changes of files in build graphs: messages to values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ketch.errors import InvalidParameter
from ketch.layers.modes import mode_change
from ketch.llb import messages as pb
from ketch.llb.vertices import (
    EMPTY,
    NO_OUTPUT,
    Action,
    Change,
    Copy,
    Files,
    MakeDirectory,
    MakeFile,
    MakeLink,
    Owner,
    Remove,
    User,
)

_KEPT = -1
_LARGEST_ID = (1 << 32) - 2


def files(op: pb.FileOp, inputs: int) -> Files:
    """``inputs`` is how many the vertex has; raises ``InvalidParameter``."""
    if not op.actions:
        raise InvalidParameter("invalid file op with no actions")
    actions = tuple(_action(action, inputs + n) for n, action in enumerate(op.actions))
    outputs = [action.output for action in actions if action.output != NO_OUTPUT]
    if len(set(outputs)) != len(outputs):
        raise InvalidParameter("two actions of a file op are the same output")
    return Files(actions)


def _action(action: pb.FileAction, before: int) -> Action:
    """``before`` is how many trees it may name."""
    kinds: tuple[tuple[Any, Callable[[Any], Change]], ...] = (
        (action.copy, _copy),
        (action.mkfile, _mkfile),
        (action.mkdir, _mkdir),
        (action.rm, _remove),
        (action.symlink, _link),
    )
    found = [read(message) for message, read in kinds if message is not None]
    if len(found) != 1:
        raise InvalidParameter(f"an action of a file op does one thing, not {len(found)}")
    if action.output < NO_OUTPUT:
        raise InvalidParameter(f"wrong output {action.output} of an action of a file op")
    owner = getattr(found[0], "owner", None)
    names = [user.input for user in (owner.user, owner.group) if user] if owner else []
    is_copy = action.copy is not None
    for number in (action.input, *([action.secondaryInput] if is_copy else ()), *names):
        if not EMPTY <= number < before:
            raise InvalidParameter(f"an action of a file op has a wrong input: {number}")
    return Action(
        change=found[0],
        input=action.input,
        files=action.secondaryInput if is_copy else EMPTY,
        output=action.output,
    )


def _copy(copy: pb.FileActionCopy) -> Change:
    mode = copy.modeStr or ("" if copy.mode == _KEPT else f"{copy.mode & 0o7777:o}")
    if mode:
        mode_change(mode)
    return Copy(
        source=_path(copy.src),
        destination=_path(copy.dest),
        wildcard=copy.allowWildcard,
        may_be_empty=copy.allowEmptyWildcard,
        follow=copy.followSymlink,
        contents=copy.dirCopyContents,
        unpack=copy.attemptUnpackDockerCompatibility,
        make_parents=copy.createDestPath,
        replace=copy.alwaysReplaceExistingDestPaths,
        includes=tuple(copy.include_patterns),
        excludes=tuple(copy.exclude_patterns),
        mode=mode,
        time=_time(copy.timestamp),
        owner=_owner(copy.owner),
    )


def _mkfile(made: pb.FileActionMkFile) -> Change:
    return MakeFile(
        path=_path(made.path),
        mode=made.mode & 0o777,
        data=made.data,
        time=_time(made.timestamp),
        owner=_owner(made.owner),
    )


def _mkdir(made: pb.FileActionMkDir) -> Change:
    return MakeDirectory(
        path=_path(made.path),
        mode=made.mode & 0o777,
        parents=made.makeParents,
        time=_time(made.timestamp),
        owner=_owner(made.owner),
    )


def _link(made: pb.FileActionSymlink) -> Change:
    return MakeLink(
        path=_path(made.newpath),
        target=_path(made.oldpath),
        time=_time(made.timestamp),
        owner=_owner(made.owner),
    )


def _remove(removed: pb.FileActionRm) -> Change:
    return Remove(
        path=_path(removed.path),
        may_be_missing=removed.allowNotFound,
        wildcard=removed.allowWildcard,
    )


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise InvalidParameter(f"invalid path {text!r:.100} in a file op")
    return text


def _time(timestamp: int) -> int | None:
    return None if timestamp == _KEPT else timestamp


def _owner(owner: pb.ChownOpt | None) -> Owner | None:
    if owner is None or (owner.user is None and owner.group is None):
        return None
    return Owner(_user(owner.user), _user(owner.group))


def _user(user: pb.UserOpt | None) -> User | None:
    if user is None:
        return None
    if user.byName is not None:
        name = user.byName.name
        if not name or any(character in name for character in ":\n\0"):
            raise InvalidParameter(f"invalid user name {name!r:.100} in a file op")
        return User(name=name, input=user.byName.input)
    if not 0 <= user.byID <= _LARGEST_ID:
        raise InvalidParameter(f"wrong user or group {user.byID} in a file op")
    return User(id=user.byID)
