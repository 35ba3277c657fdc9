import errno
import hashlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kdbench.datasets import download
from kdbench.errors import UserError

CONTENT = bytes(range(256)) * 8000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


class Server(ThreadingHTTPServer):
    """Serves CONTENT as /data.tar, in ways that a test sets."""

    content = CONTENT
    ranges = True
    length = True
    cuts: list[int]
    """Bytes after which each of the next answers breaks off."""
    statuses: list[int]
    """Statuses of the next answers; none: all is well."""
    asked: list[str | None]
    """The Range of each request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data.tar?x=1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.statuses:
            self.send_error(self.server.statuses.pop(0))
            return
        content, start = self.server.content, 0
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        if self.server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    made = Server(("127.0.0.1", 0), Handler)
    made.cuts, made.statuses, made.asked = [], [], []
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


Get = Callable[[], Path]


@pytest.fixture
def get(server: Server, tmp_path: Path) -> Get:
    return lambda: download.download(server.url, tmp_path / "downloads", SHA256)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads" / "data.tar.part"


def whole(path: Path) -> None:
    assert path.name == "data.tar"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("length", [True, False])
def test_a_file_arrives_whole(server: Server, get: Get, length: bool) -> None:
    server.length = length
    whole(get())
    assert server.asked == [None]


def test_a_file_that_is_there_is_not_got_again(server: Server, get: Get) -> None:
    get()
    whole(get())
    assert len(server.asked) == 1


def test_a_damaged_file_that_is_there_is_got_again(server: Server, get: Get) -> None:
    get().write_bytes(b"damaged")
    whole(get())
    assert len(server.asked) == 2


def test_an_earlier_part_is_gone_on_with(server: Server, get: Get, part: Path) -> None:
    part.write_bytes(CONTENT[:HALF])
    whole(get())
    assert server.asked == [f"bytes={HALF}-"]


def test_a_whole_part_is_taken_as_it_is(server: Server, get: Get, part: Path) -> None:
    part.write_bytes(CONTENT)
    whole(get())


def test_a_part_longer_than_the_file_is_started_again(server: Server, get: Get, part: Path) -> None:
    part.write_bytes(CONTENT + b"more")
    whole(get())
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_server_without_ranges_starts_again(server: Server, get: Get, part: Path) -> None:
    server.ranges = False
    part.write_bytes(b"x" * HALF)
    whole(get())


def test_broken_connections_are_gone_on_with(server: Server, get: Get) -> None:
    server.cuts = [1000, 2000, 0, 3000]
    whole(get())
    assert server.asked == [None, "bytes=1000-", "bytes=3000-", "bytes=3000-", "bytes=6000-"]


def test_a_dead_connection_keeps_what_came(server: Server, get: Get, part: Path) -> None:
    server.cuts = [5000, 0, 0, 0, 0, 0]
    with pytest.raises(UserError, match=r"ended at byte 5000 of 2048000\. The same command goes on"):
        get()
    assert part.read_bytes() == CONTENT[:5000]
    server.cuts = []
    whole(get())
    assert server.asked[-1] == "bytes=5000-"


def test_an_interrupt_keeps_what_came(
    server: Server, get: Get, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cuts = [4000]

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download.time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            get()
    assert part.read_bytes() == CONTENT[:4000]
    whole(get())


def test_another_content_is_refused_and_removed(server: Server, get: Get, part: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(UserError, match=f"SHA-256 .* and not {SHA256}"):
        get()
    assert list(part.parent.iterdir()) == []


def test_a_refusal_is_told_at_once(server: Server, get: Get) -> None:
    server.statuses = [404]
    with pytest.raises(UserError, match="the server says 404 Not Found"):
        get()
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(server: Server, get: Get) -> None:
    server.statuses = [503, 429, 500]
    whole(get())


def test_nobody_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/data.tar"
        with pytest.raises(UserError, match=r"cannot download http.*refused.*`source`"):
            download.download(url, tmp_path, SHA256)


def test_a_disk_that_is_too_small_is_told_before(
    server: Server, get: Get, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match=r"no disk space for data\.tar"):
        get()
    assert list(part.parent.iterdir()) == []


def test_a_disk_that_fills_up_is_told(server: Server, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, block: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    real = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode="r", *rest: Full() if path.suffix == ".part" else real(path, mode, *rest),
    )
    with pytest.raises(UserError, match="No space left on device"):
        get()
    assert len(server.asked) == 1


def test_a_hash_that_is_not_known_is_asked_for(server: Server, tmp_path: Path) -> None:
    def get() -> Path:
        return download.download(server.url, tmp_path, "")

    for _ in range(2):
        with pytest.raises(
            UserError, match=rf"no hash of .* verified\. .*data\.tar has SHA-256 {SHA256}: compare"
        ):
            get()
    note = tmp_path / "data.tar.sha256"
    note.write_text(f"{'0' * 64}  data.tar\n")
    with pytest.raises(UserError, match="compare"):
        get()
    note.write_text(f"{SHA256}  data.tar\n")
    assert get().read_bytes() == CONTENT
    assert server.asked == [None]


def test_an_md5_is_checked_as_one(server: Server, tmp_path: Path) -> None:
    expected = hashlib.md5(CONTENT).hexdigest()
    assert download.download(server.url, tmp_path, expected).read_bytes() == CONTENT
    assert download.download(server.url, tmp_path, expected).exists()
    assert len(server.asked) == 1
    with pytest.raises(UserError, match=f"sent a file with MD5 {expected} and not {'0' * 32}"):
        download.download(server.url, tmp_path / "other", "0" * 32)
