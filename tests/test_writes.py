"""Writing requests of a host application and the gate: who takes it, when, and what those who wait are told."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Blueprint, Flask, request
from keyframe.doors.writes import gate_requests
from keyframe.errors import UnavailableError
from keyframe.model import Action, Actor, Order, Scope
from keyframe.resources import resource_folder
from keyframe.settings import GateSettings
from keyframe.stores.gate import Gate
from keyframe.stores.intents import Intent, Intents
from werkzeug.serving import make_server

ROOT = Actor("root", "Root", "root", "cli")
SITE = Scope.site()


class Host:
    """A small host application, its gate and its intents."""

    def __init__(self, folder: Path, wait: float = 20.0) -> None:
        settings = GateSettings(wait=wait, close_within=0.3)
        self.gate = Gate(folder / ".keyframe", settings)
        self.intents = Intents(folder / ".keyframe" / "intents")
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.app = Flask("host", template_folder=str(resource_folder("templates")))
        self._add_views()
        office: Any = SimpleNamespace(
            settings=SimpleNamespace(
                gate=settings, web=SimpleNamespace(threads=4), restore=SimpleNamespace(readers_wait=False)
            ),
            gate=self.gate,
            intents=self.intents,
        )
        gate_requests(self.app, office, frozenset({"sign_in"}))

    def _add_views(self) -> None:
        own = Blueprint("keyframe_api", "keyframe_api")
        own.add_url_rule("/own", "make", self.is_gated, methods=["POST"])
        self.app.register_blueprint(own)
        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        self.app.add_url_rule("/", "page", self.is_gated, methods=every)
        self.app.add_url_rule("/sign-in", "sign_in", self.is_gated, methods=["POST"])
        self.app.add_url_rule("/slow", "slow", self.slow, methods=["POST"])
        self.app.add_url_rule("/fails", "fails", self.fails, methods=["POST"])
        self.app.add_url_rule("/stream", "stream", lambda: request.stream.read(), methods=["PUT"])
        self.app.add_url_rule("/data", "data", lambda: request.get_data(), methods=["PUT"])
        self.app.add_url_rule("/json", "json", lambda: request.get_json(), methods=["POST"])
        self.app.add_url_rule("/form", "form", self.form, methods=["POST"])

    def is_gated(self) -> str:
        return "open" if self.can_close() else "gated"

    def can_close(self) -> bool:
        try:
            with self.gate.closed():
                return True
        except UnavailableError:
            return False

    def slow(self) -> str:
        self.inside.set()
        assert self.go_on.wait(60)
        return "done"

    def fails(self) -> str:
        raise RuntimeError("a mistake in the host")

    def form(self) -> str:
        return f"{request.form['title']} {request.files['model'].read().decode()}"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@contextmanager
def served(host: Host) -> Iterator[int]:
    """The port of a real server with threads."""
    server = make_server("127.0.0.1", 0, host.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_request_that_may_write_holds_the_gate_until_it_is_answered(host: Host, method: str) -> None:
    assert host.app.test_client().open("/", method=method).text == "gated"
    assert host.can_close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_request_that_only_reads_takes_no_gate(host: Host, method: str) -> None:
    with host.gate.closed():
        assert host.app.test_client().open("/", method=method).status_code == 200


@pytest.mark.parametrize("path", ["/own", "/sign-in"])
def test_our_own_and_exempt_routes_take_no_gate(host: Host, path: str) -> None:
    assert host.app.test_client().post(path).text == "open"


def test_an_unknown_address_is_404_even_when_the_gate_is_closed(host: Host) -> None:
    with host.gate.closed():
        assert host.app.test_client().post("/nowhere").status_code == 404
        assert host.app.test_client().put("/slow").status_code == 405


def test_a_request_that_fails_leaves_the_gate(host: Host) -> None:
    assert host.app.test_client().post("/fails").status_code == 500

    assert host.can_close()


def test_a_writer_waits_until_the_gate_opens(host: Host) -> None:
    with ThreadPoolExecutor() as pool:
        with host.gate.closed():
            answer = pool.submit(host.app.test_client().post, "/")
            time.sleep(0.4)
            assert not answer.done()

        assert answer.result(60).text == "gated"


def test_who_waits_in_vain_gets_a_page_that_says_when_to_come_back(tmp_path: Path) -> None:
    host = Host(tmp_path, wait=0.2)

    with host.gate.closed():
        page = host.app.test_client().post("/", headers={"Accept": "text/html,*/*;q=0.8"})

    assert page.status_code == 503
    assert int(page.headers["Retry-After"]) > 0
    assert page.mimetype == "text/html"
    assert "nobody can write at the moment" in page.text
    assert "style=" not in page.text
    assert "<script" not in page.text


@pytest.mark.parametrize(
    "accept", ["application/json", "application/problem+json", "application/json, text/html;q=0.5"]
)
def test_a_script_gets_a_problem_document(tmp_path: Path, accept: str) -> None:
    host = Host(tmp_path, wait=0.2)

    with host.gate.closed():
        answer = host.app.test_client().post("/", headers={"Accept": accept})

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.mimetype == "application/problem+json"
    document = answer.get_json(force=True)
    assert (document["code"], document["status"]) == ("unavailable", 503)


def test_at_most_half_of_the_threads_wait(host: Host) -> None:
    with ThreadPoolExecutor(8) as pool:
        with host.gate.closed():
            first = [pool.submit(host.app.test_client().post, "/") for _ in range(4)]
            deadline = time.monotonic() + 10
            while sum(answer.done() for answer in first) < 2:
                assert time.monotonic() < deadline, "more than half of four threads wait"
                time.sleep(0.01)
            time.sleep(0.3)
            turned_away = [answer.result() for answer in first if answer.done()]

        statuses = sorted(answer.result(60).status_code for answer in first)

    assert [answer.status_code for answer in turned_away] == [503, 503]
    assert all("Retry-After" in answer.headers for answer in turned_away)
    assert statuses == [200, 200, 503, 503]


def test_more_writers_than_may_wait_write_at_once_while_the_gate_is_open(host: Host) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(host.app.test_client().post, "/slow") for _ in range(6)]
        assert host.inside.wait(30)
        time.sleep(0.3)
        host.go_on.set()

        assert [answer.result(60).status_code for answer in answers] == [200] * 6


def begun(host: Host, scope: Scope = SITE) -> None:
    """A restore has begun to change things."""
    host.intents.write(Intent("0" * 24, Order(Action.RESTORE, scope, ROOT), "s", "d" * 64, (), (), {}))


def test_nobody_writes_while_a_restore_is_unfinished(tmp_path: Path) -> None:
    host, scope = Host(tmp_path, wait=0.5), Scope.project("65a1")
    client = host.app.test_client()
    begun(host, scope)

    began = time.monotonic()
    refused = client.post("/")
    waited = time.monotonic() - began
    read, own = client.get("/"), client.post("/own")
    host.intents.remove(scope)
    allowed = client.post("/")

    assert refused.status_code == 503
    assert waited >= 0.5
    assert int(refused.headers["Retry-After"]) > 0
    assert "restore" in refused.text
    assert (read.status_code, own.status_code, allowed.status_code) == (200, 200, 200)
    assert host.can_close()


def test_writers_wait_for_the_end_of_a_restore_without_holding_the_gate(host: Host) -> None:
    """Over real connections: none is turned away, none writes before the restore is finished."""
    begun(host)
    ended = threading.Event()

    def write(port: int) -> tuple[bytes, bool]:
        answer = sent(port, "PUT /data HTTP/1.1", b"body")
        return answer, ended.is_set()

    with served(host) as port, ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, port) for _ in range(2)]
        time.sleep(0.5)
        assert not any(one.done() for one in writers)
        for _ in range(5):
            with host.gate.closed():  # as whoever finishes the restore may have to
                pass
        ended.set()
        host.intents.remove(SITE)
        answers = [one.result(60) for one in writers]

    assert [(answer.split()[1], after) for answer, after in answers] == [(b"200", True)] * 2


def test_at_most_half_of_the_threads_wait_for_the_end_of_a_restore(host: Host) -> None:
    begun(host)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(host.app.test_client().post, "/") for _ in range(4)]
        deadline = time.monotonic() + 10
        while sum(one.done() for one in asked) < 2:
            assert time.monotonic() < deadline, "more than half of four threads wait"
            time.sleep(0.01)
        turned_away = [one.result() for one in asked if one.done()]
        host.intents.remove(SITE)
        statuses = sorted(one.result(60).status_code for one in asked)

    assert all("Retry-After" in one.headers for one in turned_away)
    assert statuses == [200, 200, 503, 503]


def test_a_writer_that_waited_looks_again_for_an_unfinished_restore(tmp_path: Path) -> None:
    host = Host(tmp_path, wait=1.5)

    with ThreadPoolExecutor() as pool:
        with host.gate.closed():
            answer = pool.submit(host.app.test_client().post, "/")
            time.sleep(0.4)
            begun(host)

        assert answer.result(60).status_code == 503
    assert host.can_close()


def test_a_writer_that_waited_for_the_gate_waits_for_the_end_of_the_restore_too(host: Host) -> None:
    with ThreadPoolExecutor() as pool:
        with host.gate.closed():
            answer = pool.submit(host.app.test_client().post, "/")
            time.sleep(0.2)
            begun(host)
        time.sleep(0.2)
        assert not answer.done()
        host.intents.remove(SITE)

        assert answer.result(60).text == "gated"


@pytest.mark.parametrize("path", ["/stream", "/data"])
@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_a_body_reaches_the_view_as_it_was_sent(host: Host, path: str, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    with served(host) as port:
        answer = sent(port, f"PUT {path} HTTP/1.1", body)

    assert answer.partition(b"\r\n\r\n")[2] == body


def test_json_and_forms_reach_the_view_as_ever(host: Host) -> None:
    client = host.app.test_client()

    assert client.post("/json", json={"title": "Vase"}).get_json() == {"title": "Vase"}
    form = {"title": "Vase", "model": (io.BytesIO(b"glb"), "vase.glb")}
    assert client.post("/form", data=form).text == "Vase glb"


def test_what_read_the_body_before_us_does_no_harm(tmp_path: Path) -> None:
    host = Host(tmp_path)
    hooks = host.app.before_request_funcs[None]
    for early in (lambda: request.get_data(), lambda: request.form, lambda: request.stream):
        host.app.before_request_funcs[None] = [lambda early=early: nothing(early()), *hooks]

        assert host.app.test_client().put("/data", data=b"body").data == b"body"


def nothing(_: object) -> None:
    """A hook that answers nothing lets the request go on."""


def test_a_body_that_is_too_large_is_refused_without_holding_the_gate(host: Host) -> None:
    host.app.config["MAX_CONTENT_LENGTH"] = 100
    client = host.app.test_client()

    assert client.put("/data", data=b"x" * 101).status_code == 413
    assert client.post("/form", data={"title": "x" * 101}).status_code == 413
    assert host.can_close()


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/x-www-form-urlencoded"])
def test_a_slow_upload_holds_no_gate_before_it_has_arrived(host: Host, kind: str) -> None:
    with served(host) as port, socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(
            f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 10\r\n\r\na=b".encode()
        )
        time.sleep(0.4)
        for _ in range(5):
            assert host.can_close()
        connection.sendall(b"&ccc=d")
        connection.sendall(b"x")

        assert b"gated" in received(connection)


def test_an_upload_that_breaks_off_holds_no_gate(host: Host) -> None:
    with served(host) as port:
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.sendall(b"PUT /data HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        time.sleep(0.3)

        assert host.can_close()


def sent(port: int, first_line: str, body: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(f"{first_line}\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return received(connection)


def received(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)
