"""HTTP connections that are kept, and pauses between tries."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import threading
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union
from urllib.parse import urlsplit

from .errors import ApiError, ConnectionFailed

#: The time to wait for an answer, in seconds, besides the time that a call asks the server to wait.
TIMEOUT = 35.0


def urls_of(urls: Union[str, Sequence[str]]) -> List[str]:
    """Returns the base URLs of servers, checked."""
    listed = [urls] if isinstance(urls, str) else list(urls)
    if not listed:
        raise ValueError("no URL of a server is given; give at least one, such as http://127.0.0.1:7070")
    for url in listed:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of a server; write http://HOST:PORT or https://HOST:PORT")
    return [url.rstrip("/") for url in listed]


def token_of(token: Optional[str]) -> Optional[str]:
    """Returns the given token, or the one of the environment variable ``DTF_TOKEN``."""
    return token or os.environ.get("DTF_TOKEN") or None


class Backoff:
    """Growing pauses with jitter: up to 0.05 s first, doubled with each failure, at most 5 s."""

    def __init__(self) -> None:
        self.failures = 0

    def next(self, error: Optional[BaseException] = None) -> float:
        """Returns the pause after a failure, in seconds. A server's ``Retry-After`` is the least."""
        longest = min(5.0, 0.05 * 2.0 ** min(self.failures, 10))
        self.failures += 1
        least = error.retry_after or 0.0 if isinstance(error, ApiError) else 0.0
        return min(60.0, least) + random.uniform(longest / 4, longest)

    def reset(self) -> None:
        self.failures = 0


class Connection:
    """A connection to one server, opened when needed and kept. For one thread at a time, except :meth:`abort`."""

    def __init__(self, url: str, token: Optional[str]) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._http = kind(parts.netloc, timeout=TIMEOUT)
        self._prefix = parts.path
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def open(
        self, method: str, path: str, body: Optional[bytes], headers: Mapping[str, str], timeout: float
    ) -> http.client.HTTPResponse:
        """Sends a request and returns its response, whose body is not read yet."""
        sent: Dict[str, str] = {**self._headers, **headers}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            self._http.timeout = timeout
            if self._http.sock is None:
                self._http.connect()
            self._http.sock.settimeout(timeout)
            self._http.request(method, self._prefix + path, body, sent)
            return self._http.getresponse()
        except (OSError, http.client.HTTPException, AttributeError) as error:
            # An AttributeError: the socket was taken away by `abort`.
            self.close()
            raise ConnectionFailed(f"{self._http.host}:{self._http.port} does not answer: {error!r}") from error

    def call(
        self,
        method: str,
        path: str,
        body: Optional[bytes] = None,
        headers: Optional[Mapping[str, str]] = None,
        timeout: float = TIMEOUT,
    ) -> Any:
        """Sends a request and returns the JSON of its answer."""
        response = self.open(method, path, body, headers or {}, timeout)
        try:
            data = response.read()
        except (OSError, http.client.HTTPException, AttributeError) as error:
            self.close()
            raise ConnectionFailed(f"{self._http.host}:{self._http.port} broke off: {error!r}") from error
        return read(response, data)

    def abort(self) -> None:
        """Breaks off the call that another thread waits for."""
        sock = self._http.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        """Closes the connection; the next request opens a new one."""
        self._http.close()


def read(response: http.client.HTTPResponse, data: bytes) -> Any:
    """Returns the JSON of an answer, or raises the error that it is."""
    try:
        answer = json.loads(data) if data else None
    except ValueError as error:
        raise ConnectionFailed(f"the answer (HTTP {response.status}) is no JSON: {data[:80]!r}") from error
    if response.status < 400:
        return answer
    problem = answer if isinstance(answer, dict) else {}
    after = response.getheader("Retry-After", "")
    raise ApiError(
        str(problem.get("code", "unknown")),
        str(problem.get("detail", response.reason)),
        response.status,
        float(after) if after.isdigit() else None,
    )


class Pool:
    """Connections to one of several servers, shared by threads."""

    def __init__(self, urls: List[str], token: Optional[str]) -> None:
        self._urls, self._token = urls, token
        self._at = 0
        self._idle: List[Tuple[int, Connection]] = []
        self._lock = threading.Lock()

    def take(self) -> Tuple[int, Connection]:
        """Returns a connection that nobody uses, and the number of its server."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            return self._at, Connection(self._urls[self._at], self._token)

    def put(self, at: int, connection: Connection) -> None:
        """Gives a connection back."""
        with self._lock:
            if at == self._at:
                self._idle.append((at, connection))
                return
        connection.close()

    def failed(self, at: int) -> None:
        """Turns to the next server."""
        with self._lock:
            idle, self._idle = self._idle, []
            if at == self._at:
                self._at = (at + 1) % len(self._urls)
        for _, connection in idle:
            connection.close()

    def close(self) -> None:
        """Closes the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()


def events(response: http.client.HTTPResponse) -> Iterator[Tuple[str, str]]:
    """Returns the server-sent events of a response: their names and data."""
    name = "message"
    data: List[str] = []
    for line in response:
        text = line.decode("utf-8").rstrip("\r\n")
        if not text:
            if data:
                yield name, "\n".join(data)
            name, data = "message", []
        elif text.startswith("event:"):
            name = text[6:].strip()
        elif text.startswith("data:"):
            data.append(text[5:].lstrip(" "))
