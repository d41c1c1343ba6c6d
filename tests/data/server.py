"""A file server on loopback that resumes, and that fails when it is told to."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Args:
    files: content by path, without the leading slash.
    ranges: honors Range.
    tag: ETag of every file; "" for none.
    statuses: what the next requests are answered with, in place of the file.
    stops: after how many bytes the next answers end, though their headers promise all.
    moved: where a path leads to.
    declares: headers say how long the answer is.
    """

    files: dict[str, bytes]
    ranges: bool = True
    tag: str = ""
    statuses: list[int] = field(default_factory=list)
    stops: list[int] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    declares: bool = True
    url: str = ""
    sent: int = 0
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, wanted = handler.path.lstrip("/"), handler.headers["Range"]
        self.asked.append((path, wanted, handler.headers["If-Range"]))
        if path in self.moved:
            handler.send_response(302)
            handler.send_header("Location", self.moved[path])
            handler.end_headers()
        elif self.statuses:
            handler.send_error(self.statuses.pop(0))
        elif path not in self.files:
            handler.send_error(404)
        else:
            self._send(handler, self.files[path], wanted)

    def _send(self, handler: BaseHTTPRequestHandler, content: bytes, wanted: str | None) -> None:
        begin = 0
        if wanted and self.ranges and handler.headers["If-Range"] in (None, self.tag):
            begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
            if begin >= len(content):
                handler.send_error(416)
                return
        handler.send_response(206 if begin else 200)
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        if self.tag:
            handler.send_header("ETag", self.tag)
        if self.declares:
            handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        body = content[begin:]
        if self.stops:
            body = body[: self.stops.pop(0)]
        self.sent += len(body)
        handler.wfile.write(body)


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    """The server at `server.url`, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client may hang up."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
