"""Credentials and tokens for one registry.

Source: the distribution project's "Docker Registry v2 authentication via central service" and
"OAuth2 Token Authentication". Tokens are kept per scope for as long as one client lives; they never
go to another host than the one that asked, and the password only to the realm it named.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from ketch.distribution.challenge import Challenge, parse
from ketch.distribution.failures import Refusal, error_for, refusal
from ketch.errors import DataCorrupt, Forbidden, Unauthorized

if TYPE_CHECKING:
    import aiohttp

_LARGEST_ANSWER = 1 << 20
_LIFETIME = 60  # seconds, when the server doesn't say
_EARLY = 5


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a user has for one registry; all empty = anonymous.

    ``identity_token`` is an OAuth2 refresh token, ``registry_token`` a bearer token to be sent as
    it is (the fields of Docker's ``X-Registry-Auth``).
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header; "" without a user."""
        if not self.username:
            return ""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    refresh_token: str = ""
    expires_in: int | float | None = None


class Authorizer:
    """Answers the challenges of one registry for one user.

    With ``offline`` a token server is asked for a refresh token, which ``refresh_token`` then is.
    """

    offline = False

    def __init__(
        self, session: aiohttp.ClientSession, credentials: Credentials, *, secure: bool
    ) -> None:
        self._session = session
        self._credentials = credentials
        self._secure = secure
        self._headers: dict[str, tuple[str, float]] = {}  # scope -> header, end of its life
        self._lock = asyncio.Lock()
        self.refresh_token = ""

    def header(self, scope: str) -> str:
        """What to send with a request that needs ``scope``; "" when nothing is known yet."""
        if self._credentials.registry_token:
            return f"Bearer {self._credentials.registry_token}"
        value, until = self._headers.get(scope, ("", 0.0))
        return value if time.monotonic() < until else ""

    async def answer(self, challenges: Sequence[str], scope: str, refused: str) -> bool:
        """Get what the ``WWW-Authenticate`` headers ask for; False when we have nothing better.

        ``refused`` is the header that was sent with the request that was challenged. Raises
        ``Unauthorized`` when the token server refuses the user.
        """
        async with self._lock:
            if (known := self.header(scope)) and known != refused:
                return True  # another request was quicker
            for challenge in parse(challenges):
                if await self._satisfy(challenge, scope, refused):
                    return True
        return False

    def explained(self, challenges: Sequence[str], answer: Refusal) -> Refusal:
        """A refusal of somebody without credentials, in Docker's words."""
        schemes = [challenge.scheme for challenge in parse(challenges)]
        if "basic" in schemes and not self._credentials.basic:
            return Refusal(answer.status, "", "no basic auth credentials")
        return answer

    async def _satisfy(self, challenge: Challenge, scope: str, refused: str) -> bool:
        if challenge.scheme == "bearer" and "realm" in challenge.parameters:
            header, lifetime = await self._token(challenge.parameters, scope)
        elif challenge.scheme == "basic" and self._credentials.basic:
            header, lifetime = self._credentials.basic, float("inf")
        else:
            return False
        self._headers[scope] = (header, time.monotonic() + lifetime)
        return header != refused

    async def _token(self, parameters: Mapping[str, str], scope: str) -> tuple[str, float]:
        realm = parameters["realm"]
        self._check_realm(realm)
        scopes = list(dict.fromkeys(s for s in (scope, parameters.get("scope", "")) if s))
        service = parameters.get("service", "")
        if self._credentials.identity_token:
            token = await self._exchange(realm, service, scopes)
        else:
            token = await self._ask(realm, service, scopes)
        value = token.token or token.access_token
        if not value:
            raise Unauthorized(f"the token server {realm} gave no token")
        self.refresh_token = token.refresh_token or self.refresh_token
        lifetime = token.expires_in if token.expires_in is not None else _LIFETIME
        return f"Bearer {value}", max(float(lifetime) - _EARLY, _EARLY)

    def _check_realm(self, realm: str) -> None:
        scheme = urlsplit(realm).scheme
        if scheme not in ("http", "https"):
            raise DataCorrupt(f"the registry names the token server {realm[:200]!r}: no http URL")
        if self._secure and scheme == "http" and self._credentials != Credentials():
            raise Forbidden(
                f"the registry wants the password sent to {realm[:200]} without encryption: refused"
            )

    async def _ask(self, realm: str, service: str, scopes: Sequence[str]) -> _Token:
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        if self._credentials.username:
            query.append(("account", self._credentials.username))
        if self.offline:
            query += [("offline_token", "true"), ("client_id", "ketch")]
        basic = self._credentials.basic
        headers = {"Authorization": basic} if basic else {}
        async with self._session.get(
            realm, params=query, headers=headers, allow_redirects=False
        ) as response:
            return await _read_token(response, realm)

    async def _exchange(self, realm: str, service: str, scopes: Sequence[str]) -> _Token:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self._credentials.identity_token,
            "service": service,
            "client_id": "ketch",
            "scope": " ".join(scopes),
        }
        async with self._session.post(realm, data=form, allow_redirects=False) as response:
            return await _read_token(response, realm)


async def _read_token(response: aiohttp.ClientResponse, realm: str) -> _Token:
    body = await read_body(response, _LARGEST_ANSWER)
    if response.status != 200:
        answer = refusal(response.status, body)
        if response.status in (401, 403):
            raise Unauthorized(f"unauthorized: incorrect username or password ({answer})")
        raise error_for(f"failed to get a token from {realm}", answer)
    try:
        return msgspec.json.decode(body, type=_Token)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise DataCorrupt(f"the token server {realm} answered nonsense: {error}") from None


async def read_body(response: aiohttp.ClientResponse, largest: int) -> bytes:
    """The whole body of an answer; raises ``DataCorrupt`` when it is larger."""
    body = bytearray()
    async for piece in response.content.iter_chunked(64 * 1024):
        body += piece
        if len(body) > largest:
            raise DataCorrupt(f"{response.url} answered more than {largest} bytes")
    return bytes(body)
