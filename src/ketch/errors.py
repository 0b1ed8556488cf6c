"""Error categories: the one hierarchy that every room raises.

Each class says *what kind* of thing went wrong; the message says what was asked, what is wrong
and what to do. The categories are mapped to HTTP status codes once, in ``ketch.api.errors``, and
to exit codes of the command line once, in ``ketch.cli.exits``. The set of categories follows
what Engine API clients can tell apart (moby's ``errdefs``).

Code at level ``linux`` raises plain ``OSError``; the room that knows what was asked turns it
into one of these.
"""


class KetchError(Exception):
    """Base of everything that ketch raises on purpose; ``str(error)`` is for people.

    Raised itself only for faults inside the engine (HTTP 500) that no category fits.
    """

    from_engine = False
    """Set by the client on what an engine answered, as against faults on this side."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class NotFound(KetchError):
    """The object asked for does not exist (HTTP 404)."""


class InvalidParameter(KetchError):
    """The request is malformed or asks for something that makes no sense (HTTP 400)."""


class Conflict(KetchError):
    """The request contradicts the present state of the object (HTTP 409)."""


class NotModified(KetchError):
    """The object is already in the state asked for (HTTP 304)."""


class Unauthorized(KetchError):
    """Credentials are missing or were refused (HTTP 401)."""


class Forbidden(KetchError):
    """Understood and refused, whoever asks (HTTP 403)."""


class Unavailable(KetchError):
    """Something that is needed cannot be reached now: a registry, the launcher (HTTP 503)."""


class Unsupported(KetchError):
    """ketch does not do what was asked; the message names the option (HTTP 501)."""


class Cancelled(KetchError):
    """The client went away or took the request back (HTTP 499 in logs, never on the wire)."""


class DataCorrupt(KetchError):
    """Bytes do not have the digest, size or form that they should have (HTTP 500)."""


class StartFailed(InvalidParameter):
    """A process could not be started in a sandbox.

    ``exit_code`` is what Docker gives the container: 126 (found but not executable), 127 (not
    found) or 128 (anything else); HTTP 400.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def os_reason(error: OSError) -> str:
    """What the kernel said, in the spelling that clients know: ``/x: no space left on device``."""
    names = [name for name in (error.filename, error.filename2) if name]
    shown = [name if isinstance(name, str) else repr(name)[2:-1] for name in names]
    return ": ".join([*shown, errno_text(error)])


def in_words(error: BaseException) -> str:
    """The sentence for a client; an unforeseen exception is named, never shown as a traceback."""
    if isinstance(error, KetchError):
        return str(error)
    if isinstance(error, OSError):
        return f"the engine failed: {os_reason(error)}"
    return f"the engine failed unexpectedly: {type(error).__name__}: {error}"


def errno_text(error: OSError) -> str:
    """The kernel's reason in the spelling of Go, by which docker's client tells 126 and 127."""
    return (error.strerror or str(error)).lower()
