"""JSON over HTTP on one session: TLS verified, a deadline over everything, answers of bounded size.

The library is imported where it is used. Every task is a process of its own, and one that only plans what a driver
would do shall not pay 80 ms of CPU for it.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from orchestrator.drivers import lease

if TYPE_CHECKING:
    import requests

READING = frozenset({"GET", "HEAD"})
LARGEST_ANSWER = 4 * 1024 * 1024
# Far more than any server needs, and few enough for all who later walk through an answer or write it down.
DEEPEST_ANSWER = 256
RETRY_DELAY = 0.5
UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""In OpenSSL's words for a certificate that nobody should trust. Other errors of TLS are those of a connection."""
UNSAID_WAIT = 1.0
"""Seconds to leave a server alone that asks for it without saying for how long."""
LONGEST_WAIT = 366 * 86400.0
# A gateway in front of a provider answers these while the provider itself is on its way back.
PASSING_STATUSES = frozenset({502, 503, 504})
PASSING_RETRIES = 2
WORDS = 300
# urllib3 begins its messages with the object they come from, which tells a person nothing.
_OBJECT = re.compile(r"^(<[^>]*>|\w+\([^)]*\)): ")


class HttpError(Exception):
    """No answer that counts; the text is the cause in a few words, without addresses of secrets.

    `unsure` says that a change may have happened all the same. `left_alone` is for how many seconds the server wants no
    request, None when it did not say.
    """

    def __init__(self, words: str, *, unsure: bool = False, left_alone: float | None = None) -> None:
        super().__init__(words)
        self.unsure = unsure
        self.left_alone = left_alone


@dataclass(frozen=True)
class Reply:
    """An answer: `body` is the decoded JSON, else the text, also when it is nested deeper than DEEPEST_ANSWER."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def left_alone(self) -> float | None:
        """For how many seconds the server wants no request (RFC 9110 section 10.2.3, RFC 6585 section 4)."""
        asked = _read_retry_after(self.headers)
        if self.status == 429:
            return UNSAID_WAIT if asked is None else asked
        return asked if self.status == 503 else None

    def member(self, name: str) -> Any:
        """A member of the JSON object, None when the answer is none."""
        return self.body.get(name) if isinstance(self.body, dict) else None

    def words(self) -> str:
        """What the server says, for a person: one line, bounded."""
        for name in ("message", "error", "detail", "errorMessage", "reason"):
            if isinstance(self.member(name), str) and self.member(name):
                return short(self.member(name))
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return short(text) or f"HTTP {self.status} without a word"


class HttpJson:
    """A client for one server. `timeout` in seconds bounds each call with all its retries.

    A server that wants to be left alone is waited for up to `quiet` seconds at a time, and within the timeout.
    """

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        bearer: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        connect_timeout: float = 5.0,
        quiet: float = math.inf,
    ) -> None:
        import requests

        self._session = requests.Session()
        # netrc would replace our Authorization header, and a proxy of the environment is not meant for a LAN.
        self._session.trust_env = False
        self._session.verify = ca_file or True
        self._session.headers.update(headers or {})
        if bearer:
            self._session.headers["Authorization"] = f"Bearer {bearer}"
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._quiet = quiet

    def call(
        self,
        method: str,
        url: str,
        *,
        body: Any = None,
        form: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        patient: bool = True,
        changes: bool = False,
    ) -> Reply:
        """One request. Raises HttpError when there is no answer.

        `patient` waits out refused connections and passing gateway errors within the timeout, which is only right for
        requests that may be repeated. One that `changes` something is repeated only when it is known not to have
        happened; when that is not known, HttpError is raised as `unsure`. A 429 has not happened.
        """
        import requests

        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        attempt = 0
        while True:
            attempt += 1
            try:
                reply = self._once(method, url, deadline, json=body, data=form, params=params)
            except (requests.RequestException, TimeoutError) as error:
                if isinstance(error, requests.exceptions.SSLError) and UNTRUSTED in str(error):
                    raise HttpError(f"TLS: {_cause(error)}") from None
                unsure = changes and not _was_never_sent(error)
                if unsure or not patient or not _sleep(RETRY_DELAY, deadline):
                    raise HttpError(_cause(error), unsure=unsure) from None
                continue
            if changes and reply.status in PASSING_STATUSES:
                words = f"HTTP {reply.status}: {reply.words()}"
                raise HttpError(words, unsure=True, left_alone=reply.left_alone)
            delay = self._delay(reply, attempt, patient=patient)
            if delay is None or not _sleep(delay, deadline):
                return reply

    def _delay(self, reply: Reply, attempt: int, *, patient: bool) -> float | None:
        """Seconds until the same request is worth another try, None when this answer counts."""
        asked = reply.left_alone
        if asked is not None and (patient or reply.status == 429):
            return asked if asked <= self._quiet else None
        if patient and reply.status in PASSING_STATUSES and attempt <= PASSING_RETRIES:
            return RETRY_DELAY
        return None

    def _once(self, method: str, url: str, deadline: float, **request: Any) -> Reply:
        if method not in READING:
            lease.require()
        remaining = max(deadline - time.monotonic(), 0.05)
        with self._session.request(
            method,
            url,
            timeout=(min(remaining, self._connect_timeout), remaining),
            allow_redirects=False,
            stream=True,
            **request,
        ) as response:
            content = _bounded(response, deadline)
            return Reply(response.status_code, _decoded(content), response.headers)


def _bounded(response: requests.Response, deadline: float) -> bytes:
    content = bytearray()
    # iter_content would wait for a full chunk; read1 gives what has come, so that dripping does not evade the deadline.
    while chunk := _piece(response):
        content += chunk
        if len(content) > LARGEST_ANSWER:
            raise HttpError(f"the answer is larger than {LARGEST_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end in time")
    return bytes(content)


def _piece(response: requests.Response) -> bytes:
    import requests
    import urllib3

    try:
        return bytes(response.raw.read1(64 * 1024, decode_content=True))
    except urllib3.exceptions.ReadTimeoutError as error:
        raise TimeoutError(str(error)) from None
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError(error) from None


def _decoded(content: bytes) -> Any:
    text = content.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if _is_deeper(value, DEEPEST_ANSWER) else value


def _is_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [item for item in level if isinstance(item, list | dict)]
        if not level:
            return False
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return True


def _read_retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of Retry-After, which may also be a date; None when it says neither."""
    text = headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        until = _read_date(text)
        if until is None:
            return None
        # By the server's own clock, which may differ from ours.
        seconds = (until - (_read_date(headers.get("Date", "")) or datetime.now(UTC))).total_seconds()
    return None if math.isnan(seconds) else min(max(seconds, RETRY_DELAY), LONGEST_WAIT)


def _read_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _was_never_sent(error: BaseException) -> bool:
    """Whether the connection was refused or never came about, so that no server has the request."""
    import requests
    import urllib3

    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    return any(isinstance(one, urllib3.exceptions.NewConnectionError) for one in _causes(error))


def _sleep(delay: float, deadline: float) -> bool:
    """Sleep, unless that would pass the deadline."""
    if time.monotonic() + delay >= deadline:
        return False
    time.sleep(delay)
    return True


def _cause(error: BaseException) -> str:
    """The innermost reason: requests wraps urllib3 wraps the socket's own words."""
    import requests

    if isinstance(error, requests.exceptions.Timeout | TimeoutError):
        return "no answer in time"
    seen = _causes(error)[-1]
    text = getattr(seen, "strerror", None) or str(seen)
    return short(_OBJECT.sub("", text))


def _causes(error: BaseException) -> list[BaseException]:
    """An error and what is wrapped in it, the innermost last."""
    found = [error]
    while True:
        last = found[-1]
        inner = getattr(last, "reason", None) or next((a for a in last.args if isinstance(a, BaseException)), None)
        if not isinstance(inner, BaseException):
            return found
        found.append(inner)


def short(text: str) -> str:
    """One line of at most WORDS characters."""
    line = " ".join(text.split())
    return line if len(line) <= WORDS else line[: WORDS - 1] + "…"
