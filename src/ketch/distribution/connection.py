"""HTTP with one endpoint: credentials, redirects, patience, and errors in plain words."""

from __future__ import annotations

import asyncio
import os
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from ketch.distribution.auth import Authorizer, Credentials, read_body
from ketch.distribution.failures import Refusal, refusal
from ketch.distribution.hosts import Endpoint, RegistrySettings
from ketch.errors import DataCorrupt, InvalidParameter, KetchError, Unavailable

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=60)
_MOST_REDIRECTS = 6
_TRIES = 4
_FIRST_PAUSE = 0.25  # seconds, doubled after each try
_LONGEST_PAUSE = 20.0
_LARGEST_REFUSAL = 64 * 1024
BROKEN = (aiohttp.ClientError, TimeoutError, OSError)
"""What a transfer can die of."""


class Refused(KetchError):
    """The registry answered with a status that is no success."""

    def __init__(self, answer: Refusal) -> None:
        super().__init__(str(answer))
        self.answer = answer


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """``path`` begins with a slash, or is a whole URL that the endpoint gave us.

    ``scope`` is what a token must allow (``repository:x:pull``); ``data`` bytes or an async
    iterator, which can be sent only once. ``patient`` requests are repeated after passing failures.
    """

    method: str
    path: str
    scope: str = ""
    headers: dict[str, str] = {}
    data: Any = None
    patient: bool = True

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again after a failure."""
        return self.method in ("GET", "HEAD")


def _origin(endpoint: Endpoint) -> URL:
    """Raises ``InvalidParameter`` for a host or a port that can't be one."""
    try:
        found = URL(endpoint.base).origin()
        (found.raw_host or "").encode("idna")  # what looking it up will do
    except ValueError as error:
        raise InvalidParameter(f"invalid registry address {endpoint.host!r}: {error}") from None
    return found


class Connection:
    """One endpoint for one user; made lazily, closed with ``close``."""

    def __init__(
        self, endpoint: Endpoint, settings: RegistrySettings, credentials: Credentials
    ) -> None:
        self.endpoint = endpoint
        self._origin = _origin(endpoint)
        connector = aiohttp.TCPConnector(limit=8, ssl=settings.tls(endpoint))
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=_TIMEOUT,
            auto_decompress=False,  # digests are of the bytes on the wire
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "ketch", "Accept-Encoding": "identity"},
        )
        secure = endpoint.base.startswith("https://")
        self.authorizer = Authorizer(self._session, credentials, secure=secure)
        self._certificates = settings.certificates

    async def close(self) -> None:
        """Close every socket."""
        await self._session.close()

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send, and give the answer when it is a success (2xx) for as long as the block lasts.

        Raises ``Refused`` for other statuses, ``Unavailable`` when the endpoint can't be reached.
        """
        response = await self._persist(request)
        try:
            yield response
        finally:
            response.release() if response.content.at_eof() else response.close()

    async def _persist(self, request: Request) -> aiohttp.ClientResponse:
        tries = _TRIES if request.repeatable and request.patient else 1
        for number in range(tries):
            last = number + 1 == tries
            try:
                return await self._authorised(request)
            except Refused as error:
                if last or not is_passing(error.answer.status):
                    raise
            except aiohttp.ClientConnectorError as error:
                raise self._unreachable(error) from None  # nobody there: others may be
            except BROKEN as error:
                if last:
                    raise self._unreachable(error) from None
            await asyncio.sleep(min(_FIRST_PAUSE * 2**number, _LONGEST_PAUSE))
        raise AssertionError("unreachable")

    async def _authorised(self, request: Request) -> aiohttp.ClientResponse:
        """Send, and once more with credentials when the registry asks for some."""
        header = self.authorizer.header(request.scope)
        response = await self._follow(request, header)
        if response.status == 401:
            challenges = response.headers.getall("WWW-Authenticate", [])
            answer = await _refusal(response)
            if request.data is not None and not isinstance(request.data, bytes):
                raise Refused(answer)
            if not await self.authorizer.answer(challenges, request.scope, header):
                raise Refused(answer if header else self.authorizer.explained(challenges, answer))
            response = await self._follow(request, self.authorizer.header(request.scope))
        if not 200 <= response.status < 300:
            raise Refused(await _refusal(response))
        return response

    async def _follow(self, request: Request, authorization: str) -> aiohttp.ClientResponse:
        url = self._url(request.path)
        for _ in range(_MOST_REDIRECTS):
            response = await self._once(request, url, authorization)
            if response.status not in (301, 302, 303, 307, 308) or not request.repeatable:
                return response
            target = response.headers.get("Location", "")
            response.release()
            url = self._redirected(url, target)
        raise DataCorrupt(f"{self.endpoint.host} redirects in circles")

    async def _once(self, request: Request, url: URL, authorization: str) -> aiohttp.ClientResponse:
        headers: Mapping[str, str] = request.headers
        if authorization and url.origin() == self._origin:  # never to another host
            headers = {**headers, "Authorization": authorization}
        return await self._session.request(
            request.method,
            url,
            headers=headers,
            data=request.data,
            allow_redirects=False,
            proxy=_proxy(url),
        )

    def _url(self, path: str) -> URL:
        if path.startswith("/"):
            return URL(self.endpoint.base + path, encoded=True)
        return URL(path, encoded=True)

    def absolute(self, location: str) -> str:
        """The URL of a ``Location`` header of this endpoint."""
        return str(self._redirected(URL(self.endpoint.base), location))

    def _redirected(self, url: URL, location: str) -> URL:
        try:
            target = url.join(URL(location, encoded=True))
            (target.raw_host or "").encode("idna")
        except ValueError:
            raise DataCorrupt(f"{self.endpoint.host} redirects to a malformed URL") from None
        if not location or target.scheme not in ("http", "https") or not target.host:
            raise DataCorrupt(f"{self.endpoint.host} redirects to {location[:200]!r}")
        if url.scheme == "https" and target.scheme == "http" and self.endpoint.verify:
            raise DataCorrupt(f"{self.endpoint.host} redirects to plain http: refused")
        return target

    def _unreachable(self, error: BaseException) -> Unavailable:
        reason = str(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            reason = self._untrusted(error.certificate_error)
        elif isinstance(error, TimeoutError):
            reason = "it does not answer in time"
        elif isinstance(error, OSError) and (error.errno or 0) > 0:
            reason = os.strerror(error.errno or 0)
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        return Unavailable(f"cannot reach the registry {self.endpoint.base}: {reason}")

    def _untrusted(self, error: Exception) -> str:
        why = getattr(error, "verify_message", "") or str(error)
        return (
            f"certificate verify failed: {why}. Put the certificate of its authority into"
            f" {self._certificates}/{self.endpoint.host}/ca.crt, or name the registry in"
            " insecure-registries"
        )


def is_passing(status: int) -> bool:
    """Whether a refusal may be another answer soon."""
    return status == 429 or status in (500, 502, 503, 504)


async def _refusal(response: aiohttp.ClientResponse) -> Refusal:
    try:
        body = await read_body(response, _LARGEST_REFUSAL)
    except (DataCorrupt, *BROKEN):
        body = b""
    response.close()
    return refusal(response.status, body)


def _proxy(url: URL) -> str | None:
    """The proxy of the environment (``https_proxy``, ``no_proxy``…) for a URL."""
    host = url.host or ""
    if host in ("localhost", "::1") or host.startswith("127."):
        return None
    if urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(url.scheme)
