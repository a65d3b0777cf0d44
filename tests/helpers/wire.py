"""The wire to an object store, for tests that break it: a proxy that loses, refuses and answers wrongly on command."""

from __future__ import annotations

import http.client
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Kind = Literal["list versions", "list uploads", "delete", "abort", "put", "get", "head", "lock", "remove", "other"]
Fault = Literal["cut", "error", "lost", "error after"]
"""Before the store saw the request: no answer, or a 500; after it has done it: no answer, or a 500."""

_ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>broken</Message></Error>"


class Wire:
    """Forwards to `target`. `answer` decides what becomes of each request, from its kind and how many of that kind came before."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.seen: Counter[Kind] = Counter()
        self.requests: list[Kind] = []
        self._faults: dict[tuple[Kind, int], Fault] = {}
        self._actions: dict[tuple[Kind, int], Callable[[], object]] = {}
        self.refused: dict[str, str] = {}
        self.down = False
        self.errors: list[BaseException] = []
        self._stopping: set[tuple[Kind, int]] = set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, kind: Kind, nth: int, fault: Fault, *, and_stop: bool = False) -> None:
        """The nth request of that kind meets this fault; with `and_stop` nothing is answered any more after it."""
        self._faults[kind, nth] = fault
        if and_stop:
            self._stopping.add((kind, nth))

    def at(self, kind: Kind, nth: int, action: Callable[[], object]) -> None:
        """Does something before the nth request of that kind is forwarded."""
        self._actions[kind, nth] = action

    def mend(self) -> None:
        """From now on every request is answered by the store."""
        self.down = False
        self._faults.clear()
        self._actions.clear()
        self._stopping.clear()
        self.refused.clear()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                wire.serve(self, body)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        return Handler

    def serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        kind = _kind(request.command, request.path)
        with self._lock:
            self.seen[kind] += 1
            self.requests.append(kind)
            this = (kind, self.seen[kind])
            down = self.down
            self.down = down or this in self._stopping
        fault: Fault | None = "cut" if down else self._faults.get(this)
        if not down and this in self._actions:
            try:
                self._actions[this]()
            except BaseException as error:
                self.errors.append(error)
        if fault == "cut":
            return self._hang_up(request)
        if fault == "error":
            return self._answer(request, 500, {}, _ERROR)
        status, headers, answer = self._forward(request, body, kind)
        if fault == "lost":
            return self._hang_up(request)
        if fault == "error after":
            return self._answer(request, 500, {}, _ERROR)
        return self._answer(request, status, headers, answer)

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes, kind: Kind) -> tuple[int, dict[str, str], bytes]:
        """The store's answer; entries of a DeleteObjects that are to be refused never get there, and come back as errors of a 200."""
        errors = b""
        if kind == "delete" and self.refused:
            for entry in re.findall(rb"<Object>.*?</Object>", body, re.DOTALL):
                key = re.search(rb"<Key>(.*?)</Key>", entry)[1]
                code = self.refused.get(key.decode())
                if code:
                    body = body.replace(entry, b"")
                    errors += b"<Error><Code>" + code.encode() + b"</Code>" + entry[len(b"<Object>") : -len(b"</Object>")] + b"</Error>"
            if b"<Object>" not in body:
                return 200, {"Content-Type": "application/xml"}, b"<?xml version='1.0'?><DeleteResult>" + errors + b"</DeleteResult>"
        altered = {"content-md5"} if errors else set()
        headers = {k: v for k, v in request.headers.items() if k.lower() not in {"content-length", "connection", "expect", *altered}}
        store = http.client.HTTPConnection(self.target, timeout=30)
        store.request(request.command, request.path, body=body or None, headers=headers)
        response = store.getresponse()
        answer = response.read()
        store.close()
        answer = re.sub(rb"(</DeleteResult>|</DeleteObjectsOutput>)", lambda m: errors + m[1], answer) if errors else answer
        dropped = {"transfer-encoding", "connection"} | (set() if request.command == "HEAD" else {"content-length"})
        kept = {k: v for k, v in response.getheaders() if k.lower() not in dropped}
        return response.status, kept, answer

    def _answer(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if status != 204 and "content-length" not in {name.lower() for name in headers}:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    def _hang_up(self, request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True


def _kind(method: str, path: str) -> Kind:
    query = urlsplit(path).query
    names = {part.partition("=")[0] for part in query.split("&")}
    if "retention" in names:
        return "lock"
    if method == "GET" and names & {"versions", "uploads"}:
        return "list versions" if "versions" in names else "list uploads"
    if method == "POST" and "delete" in names:
        return "delete"
    if method == "DELETE" and "uploadId" in names:
        return "abort"
    of_object = urlsplit(path).path.strip("/").count("/") > 0 and not names & {"object-lock", "versioning", "lifecycle"}
    plain: dict[str, Kind] = {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "remove"}
    return plain.get(method, "other") if of_object else "other"


@contextmanager
def wire_to(target: str) -> Iterator[Wire]:
    """A wire that is up; an error of one of its actions is raised on leaving."""
    wire = Wire(target)
    thread = threading.Thread(target=wire._server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield wire
    finally:
        wire._server.shutdown()
        thread.join()
        wire._server.server_close()
    for error in wire.errors:
        raise error
