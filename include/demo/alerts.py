"""A listener on loopback for the demo's alerts: what a webhook would get is appended to a file, one JSON document a line."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any


def serve(port: int, file: Path) -> None:
    """Listens on `port` of loopback until ended; every posted JSON document becomes a line of `file`."""

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                line = json.dumps(json.loads(body), ensure_ascii=False)
            except ValueError:
                self._answer(400)
                return
            with file.open("a") as alerts:
                alerts.write(line + "\n")
            self._answer(204)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing: the file says it."""

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    HTTPServer(("127.0.0.1", port), Listener).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
