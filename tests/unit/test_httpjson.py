"""The HTTP client against a real server."""

import contextlib
import json
import socket
import ssl
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest
import trustme

from orchestrator.drivers.httpjson import (
    LARGEST_ANSWER,
    LONGEST_WAIT,
    RETRY_DELAY,
    UNSAID_WAIT,
    WORDS,
    HttpError,
    HttpJson,
    Reply,
)
from tests.support.http_server import Answer, Request, http_server


def test_call_sends_json_and_the_bearer_and_reads_json() -> None:
    with http_server(lambda request: Answer(201, {"got": request.json})) as server:
        reply = HttpJson(bearer="token").call("POST", f"{server.url}/x", body={"a": 1})
    assert (reply.status, reply.body, reply.ok) == (201, {"got": {"a": 1}}, True)
    assert server.requests[0].headers["Authorization"] == "Bearer token"
    assert server.requests[0].headers["Content-Type"] == "application/json"


def test_call_sends_a_form() -> None:
    with http_server(lambda _: Answer(200, {})) as server:
        HttpJson().call("POST", server.url, form={"a": 1, "b": "c d"})
    assert server.requests[0].body == b"a=1&b=c+d"


def test_call_ignores_netrc_and_proxies_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with http_server(lambda _: Answer(200, {})) as server:
        HttpJson(bearer="token").call("GET", server.url)
    assert server.requests[0].headers["Authorization"] == "Bearer token"


def test_call_returns_text_that_is_no_json() -> None:
    with http_server(lambda _: Answer(500, b"<h1>\n  Oops</h1>")) as server:
        reply = HttpJson().call("GET", server.url)
    assert reply.words() == "<h1> Oops</h1>"


@pytest.mark.parametrize("depth", [257, 900, 3000, 100_000])
def test_case_b10_answer_nested_too_deep_is_no_json(depth: int) -> None:
    """No reader of an answer, and nothing that writes it down, recurses for as long as a stranger likes."""
    with http_server(lambda _: Answer(200, b"[" * depth + b"]" * depth)) as server:
        reply = HttpJson().call("GET", server.url)
    assert isinstance(reply.body, str)
    assert reply.words().startswith("[[[")


def test_call_retries_a_refused_connection_within_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(HttpError, match="refused"):
        HttpJson(timeout=0.8).call("GET", f"http://127.0.0.1:{port}")
    assert 0.4 < time.monotonic() - started < 2


def test_call_retries_a_connection_closed_without_a_word() -> None:
    answers = [None, Answer(200, {"ok": True})]
    with http_server(lambda _: answers.pop(0)) as server:
        assert HttpJson().call("PUT", server.url).ok
    assert len(server.requests) == 2


def test_call_that_is_not_patient_is_made_once() -> None:
    with http_server(lambda _: None) as server, pytest.raises(HttpError):
        HttpJson().call("POST", server.url, patient=False)
    assert len(server.requests) == 1


def test_call_waits_out_429_for_as_long_as_it_says() -> None:
    answers = [Answer(429, {}, {"Retry-After": "1"}), Answer(200, {})]
    started = time.monotonic()
    with http_server(lambda _: answers.pop(0)) as server:
        assert HttpJson(timeout=5).call("GET", server.url).ok
    assert time.monotonic() - started >= 1


def test_call_returns_429_that_lasts_longer_than_the_timeout() -> None:
    with http_server(lambda _: Answer(429, {}, {"Retry-After": "300"})) as server:
        assert HttpJson(timeout=2).call("GET", server.url).status == 429
    assert len(server.requests) == 1


def test_call_gives_a_gateway_error_a_few_tries_and_then_returns_it() -> None:
    with http_server(lambda _: Answer(503, {"message": "maintenance"})) as server:
        reply = HttpJson(timeout=10).call("GET", server.url)
    assert (reply.status, reply.words(), len(server.requests)) == (503, "maintenance", 3)


def test_call_bounds_the_size_of_an_answer() -> None:
    with (
        http_server(lambda _: Answer(200, b" " * (LARGEST_ANSWER + 1))) as server,
        pytest.raises(HttpError, match="larger than"),
    ):
        HttpJson().call("GET", server.url)


def test_call_does_not_follow_redirects_with_the_token() -> None:
    with http_server(lambda _: Answer(302, {}, {"Location": "http://127.0.0.1:1/"})) as server:
        assert HttpJson(bearer="token").call("GET", server.url).status == 302


def test_call_ends_when_the_answer_does_not() -> None:
    def slow(_: Request) -> Answer:
        time.sleep(1.5)
        return Answer(200, {})

    with http_server(slow) as server, pytest.raises(HttpError, match="no answer in time"):
        HttpJson(timeout=0.3).call("GET", server.url)


@pytest.mark.parametrize("head", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"], ids=["length", "chunked"])
def test_call_ends_when_the_answer_drips(head: bytes) -> None:
    piece = b"x" if head.startswith(b"Content") else b"1\r\nx\r\n"

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
            for _ in range(40):
                connection.sendall(piece)
                time.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip, args=(listener,))
        server.start()
        started = time.monotonic()
        with pytest.raises(HttpError, match="no answer in time"):
            HttpJson(timeout=0.5).call("GET", f"http://127.0.0.1:{listener.getsockname()[1]}", patient=False)
        assert time.monotonic() - started < 2
        server.join()


def test_call_cut_short_in_its_answer_is_an_error() -> None:
    with (
        http_server(lambda _: Answer(200, b"half", {"Content-Length": "1000"})) as server,
        pytest.raises(HttpError),
    ):
        HttpJson().call("GET", server.url, patient=False)


def test_call_verifies_tls_against_the_given_ca(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with http_server(lambda _: Answer(200, {"ok": True}), tls=context) as server:
        assert HttpJson(ca_file=str(ca_file)).call("GET", server.url).ok
        started = time.monotonic()
        with pytest.raises(HttpError, match="TLS"):
            HttpJson(timeout=10).call("GET", server.url)
        assert time.monotonic() - started < 2, "a certificate does not become valid by waiting"


def test_words_are_one_bounded_line() -> None:
    assert Reply(422, {"error": "a\nb"}).words() == "a b"
    assert len(Reply(500, "x" * 9999).words()) == WORDS
    assert Reply(500, "").words() == "HTTP 500 without a word"
    assert json.loads(Reply(400, {"other": 1}).words()) == {"other": 1}


def test_case_b7_call_waits_until_the_date_that_it_is_told() -> None:
    until = formatdate(time.time() + 2, usegmt=True)
    answers = [Answer(429, {}, {"Retry-After": until}), Answer(200, {})]
    started = time.monotonic()
    with http_server(lambda _: answers.pop(0)) as server:
        assert HttpJson(timeout=5).call("GET", server.url).ok
    assert len(server.requests) == 2
    assert time.monotonic() - started >= 1


def test_case_b7_call_waits_out_503_for_as_long_as_it_says() -> None:
    answers = [Answer(503, {}, {"Retry-After": "1"})] * 3 + [Answer(200, {})]
    started = time.monotonic()
    with http_server(lambda _: answers.pop(0)) as server:
        assert HttpJson(timeout=8).call("GET", server.url).ok
    assert time.monotonic() - started >= 3


@pytest.mark.parametrize(
    ("status", "said", "seconds"),
    [
        (429, "30", 30.0),
        (429, " 7 ", 7.0),
        (429, "1.5", 1.5),
        (429, "0", RETRY_DELAY),
        (429, "-5", RETRY_DELAY),
        (429, "Wed, 21 Oct 2015 07:28:10 GMT", 10.0),
        (429, "Wed, 21 Oct 2015 07:28:10 -0000", 10.0),
        (429, "Wednesday, 21-Oct-15 07:28:10 GMT", 10.0),
        (429, "Tue, 20 Oct 2015 07:28:10 GMT", RETRY_DELAY),
        (429, "", UNSAID_WAIT),
        (429, "soon", UNSAID_WAIT),
        (429, "nan", UNSAID_WAIT),
        (429, "Wed, 99 Oct 2015 07:28:10 GMT", UNSAID_WAIT),
        (429, "9" * 400, LONGEST_WAIT),
        (503, "30", 30.0),
        (503, "", None),
        (500, "30", None),
        (200, "30", None),
    ],
)
def test_case_b7_answer_says_for_how_long_it_wants_none(status: int, said: str, seconds: float | None) -> None:
    headers = {"Retry-After": said, "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert Reply(status, {}, headers).left_alone == seconds


def test_case_b7_change_is_repeated_after_429_only() -> None:
    answers = [Answer(429, {}, {"Retry-After": "1"}), Answer(200, {})]
    with http_server(lambda _: answers.pop(0)) as server:
        assert HttpJson(timeout=5).call("POST", server.url, changes=True).ok
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "left_alone"),
    [(None, None), (Answer(502, {}), None), (Answer(504, {}), None), (Answer(503, {}, {"Retry-After": "7"}), 7.0)],
    ids=["closed", "502", "504", "503"],
)
def test_case_b7_change_that_may_have_happened_is_made_once(answer: Answer | None, left_alone: float | None) -> None:
    with http_server(lambda _: answer) as server, pytest.raises(HttpError) as caught:
        HttpJson(timeout=2).call("POST", server.url, changes=True)
    assert (caught.value.unsure, caught.value.left_alone, len(server.requests)) == (True, left_alone, 1)


def test_case_b7_change_that_was_never_sent_is_made_when_the_server_is_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(HttpError, match="refused") as caught:
        HttpJson(timeout=0.8).call("POST", f"http://127.0.0.1:{port}", changes=True)
    assert caught.value.unsure is False
    assert time.monotonic() - started > 0.4, "it was tried again"
