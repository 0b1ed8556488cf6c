"""Where the files of a Dockerfile's build come from, by the attributes of its front end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ketch.build.steps.copy import is_remote
from ketch.buildkit.frontend.attributes import build_options
from ketch.buildkit.session.source import Locals, SessionSource
from ketch.buildkit.session.upload import is_upload, uploaded
from ketch.engine.builder.contexts.download import Download
from ketch.engine.builder.contexts.remote import OwnDockerfile, WithDirectories, remote_source
from ketch.engine.builder.contexts.source import REMOTE_CONTEXT, TarSource

if TYPE_CHECKING:
    from ketch.buildkit.session.sessions import Session, Sessions
    from ketch.engine.builder.contexts.earlier import KeptContexts
    from ketch.engine.builder.contexts.source import Source


def build_source(
    sessions: Sessions, session: Session, contexts: KeptContexts, attrs: Mapping[str, str]
) -> Source:
    """The client's directories, or a context that it uploads or that is fetched from a URL, with
    its Dockerfile or one of the client's."""
    prefix = "local-sessionid:"
    ids = {k.removeprefix(prefix): v for k, v in attrs.items() if k.startswith(prefix)}
    own = SessionSource(
        Locals(sessions, session, ids),
        contexts,
        attrs.get("dockerfilekey") or "dockerfile",
        attrs.get("contextkey") or "context",
    )
    url = attrs.get("context", "")
    if not is_remote(url):
        return own
    remote: Source
    if is_upload(url):
        download = Download(url, uploaded(session, url))
        remote = TarSource(download.pieces(), title=REMOTE_CONTEXT, origin=download)
    else:
        remote = remote_source(url, build_options(attrs).build_args)
    own_dockerfile = bool(attrs.get("dockerfilekey"))
    return OwnDockerfile(own, remote) if own_dockerfile else WithDirectories(remote, own)
