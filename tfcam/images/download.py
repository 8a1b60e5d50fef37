"""Bytes from a web address, within limits: of size, of time, of redirects and of reach.

Reach: the address that a user gives may be a private one, such as http://localhost:8000/cat.png or
a server in the same house. But once a public server has been spoken to, no private address is
connected to any more: else a stranger's server could redirect to what only this machine can see.
What counts is the address of the connection itself, whatever its name resolved to before. Behind a
proxy it is the proxy that connects, and that decides.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

MAX_REDIRECTS = 5


_FAILURES = (  # of a download, in our words; the first that fits
    (requests.Timeout, "the server stays silent"),
    (requests.TooManyRedirects, f"it redirects more than {MAX_REDIRECTS} times"),
    (requests.exceptions.InvalidSchema, "only http:// and https:// are followed"),
    (requests.exceptions.SSLError, "the server's certificate or encryption is not valid"),
    (requests.ConnectionError, "the server cannot be reached or stopped answering"),
    (requests.exceptions.ChunkedEncodingError, "the server hung up before the end"),
)


class FetchError(ValueError):
    """Nothing could be fetched; the message says why, in one clause."""


def fetch(url: str, *, timeout: float, max_seconds: float, max_bytes: int) -> bytes:
    """Download what should be a picture.

    Args:
        url: An http:// or https:// address.
        timeout: Seconds a server may take to connect, and seconds it may stay silent.
        max_seconds: Seconds the whole may take, from the look-up of the name to the last byte.
        max_bytes: Most bytes it may deliver.

    Raises:
        FetchError: If it fails, exceeds a limit, or is said to be no picture.
    """
    journey = _Journey(timeout, max_bytes)
    outcomes: list[bytes | Exception] = []

    def work() -> None:
        try:
            outcomes.append(journey.to(url))
        except Exception as error:  # what a strange server makes of its answer is its own
            outcomes.append(error)

    # Each byte of an answer may come just before the timeout: only another thread bounds it all.
    thread = threading.Thread(target=work, name="tfcam download", daemon=True)
    thread.start()
    thread.join(max_seconds)
    if not outcomes:
        journey.stop()
        raise FetchError(f"it takes longer than max_seconds = {max_seconds:g}")
    if isinstance(outcomes[0], bytes):
        return outcomes[0]
    why = next((text for kind, text in _FAILURES if isinstance(outcomes[0], kind)), outcomes[0])
    raise FetchError(str(why)) from None


def is_public(address: str) -> bool:
    """Tell whether the whole internet can reach an IP address.

    Example:
        >>> [is_public(each) for each in ("8.8.8.8", "127.0.0.1", "10.0.0.1", "::ffff:10.0.0.1")]
        [True, False, False, False]
    """
    parsed = ipaddress.ip_address(address.split("%")[0])  # fe80::1%eth0
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_global


@dataclass
class _Journey:
    """One download, with all its redirects."""

    timeout: float
    max_bytes: int
    met_public: bool = False
    stopped: bool = False
    sockets: list[socket.socket] = field(default_factory=list)

    def to(self, url: str) -> bytes:
        with requests.Session() as session:
            session.max_redirects = MAX_REDIRECTS
            session.headers["User-Agent"] = f"tfcam {requests.utils.default_user_agent()}"
            # Pictures are small already, and what a server has packed may unpack to any size.
            session.headers["Accept-Encoding"] = "identity"
            session.hooks["response"] = [_drop_redirect_body]
            for scheme in ("http://", "https://"):
                session.mount(scheme, self._adapter())
            with session.get(url, timeout=self.timeout, stream=True) as response:
                return self._body(response)

    def stop(self) -> None:
        """End the download soon, whatever it waits for."""
        self.stopped = True
        for connection in self.sockets:
            with contextlib.suppress(OSError):  # it has ended already
                connection.shutdown(socket.SHUT_RDWR)

    def meet(self, connected: socket.socket) -> None:
        """Check whom we are connected with, before anything is sent."""
        self.sockets.append(connected)
        address = str(connected.getpeername()[0])
        if self.stopped:
            raise FetchError("it was stopped")
        if is_public(address):
            self.met_public = True
        elif self.met_public:
            raise FetchError(f"a public server redirects to the private address {address}")

    def _adapter(self) -> HTTPAdapter:
        journey = self

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                journey.meet(self.sock)

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                journey.meet(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        adapter = HTTPAdapter()
        adapter.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
        return adapter

    def _body(self, response: requests.Response) -> bytes:
        """The body of a good answer."""
        if response.status_code != 200:
            raise FetchError(f"the server answers {response.status_code} {response.reason}")
        kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
        # Storage services say "binary/octet-stream", some servers nothing: the decoder will see.
        if kind and not kind.startswith("image/") and not kind.endswith("/octet-stream"):
            raise FetchError(f"its content type is {kind}")
        packed = response.headers.get("Content-Encoding", "identity").strip().lower()
        if packed not in ("", "identity"):
            raise FetchError(f"it comes packed as {packed}, which was not asked for")
        announced, data = response.headers.get("Content-Length", ""), bytearray()
        too_long = FetchError(f"it has more than max_bytes = {self.max_bytes:,} bytes")
        if announced.isdecimal() and int(announced) > self.max_bytes:
            raise too_long
        for chunk in response.iter_content(2**16):
            data += chunk
            if len(data) > self.max_bytes:
                raise too_long
        return bytes(data)


def _drop_redirect_body(response: requests.Response, **_: Any) -> None:
    if response.is_redirect:  # requests would read it whole before it follows, past `max_bytes`
        response.close()
