"""Downloads against a real HTTP server on this machine that behaves, misbehaves, or is not there."""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from engine import d4rl_files
from engine.control import Stopped
from engine.data import d4rl
from engine.data.dataset import DatasetError
from engine.data.fetching import PIECE

CONTENT = np.random.default_rng(0).bytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = d4rl_files.D4rlFile("a-v2", "a-v2.hdf5", "gym/a-v2.hdf5", len(CONTENT), SHA256, "Hopper", "a", 2, None)


class Server(ThreadingHTTPServer):
    """Serves CONTENT at /data/gym/a-v2.hdf5.

    Attributes:
        content: what it has in place of CONTENT.
        ranges: whether it knows Range; "wrong" continues at another byte than asked.
        length: whether it tells the length beforehand.
        stop_after: bytes of an answer after which it hangs up or, with `stall`, says nothing more.
        delay: seconds before it answers.
        requests: the Range header of each request.
        sent: bytes of content sent.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.ranges: bool | str = True
        self.length = True
        self.stop_after: int | None = None
        self.stall = False
        self.delay = 0.0
        self.requests: list[str | None] = []
        self.sent = 0
        self.quiet = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.requests.append(asked)
        time.sleep(server.delay)
        if self.path != "/data/gym/a-v2.hdf5":
            self.send_error(404)
            return
        start = 0
        if asked and server.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-")) + (server.ranges == "wrong")
            if start >= len(server.content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        else:
            self.send_response(200)
        body = server.content[start:]
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # the client hung up
            self.wfile.write(body[: server.stop_after])
        server.sent += len(body[: server.stop_after])
        if server.stall:
            server.quiet.wait(10)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on the terminal."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine's way to the network is."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(d4rl.URL_VARIABLE, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.quiet.set()
        made.shutdown()
        thread.join()


def ignore(*_: object) -> None:
    """No progress shown, no stop asked for."""


def download(folder: Path, base_url: str, timeout: float = 5.0) -> Path:
    return d4rl.download(FILE, folder, ignore, ignore, base_url, timeout)


def fails(folder: Path, base_url: str, said: str, timeout: float = 5.0) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        download(folder, base_url, timeout)
    assert "\n" not in str(caught.value)
    assert not (folder / FILE.file).exists()


def part(folder: Path) -> Path:
    return folder / f"{FILE.file}.part"


def test_a_file_arrives_whole_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = d4rl.download(FILE, tmp_path / "new", lambda done, total: seen.append((done, total)), ignore, server.url)
    assert path == tmp_path / "new" / FILE.file
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert (tmp_path / "new" / f"{FILE.file}.sha256").read_text().split() == [SHA256, FILE.file]
    assert not part(tmp_path / "new").exists()
    assert download(tmp_path / "new", "http://127.0.0.1:1") == path  # nobody is asked
    assert server.requests == [None]


def test_the_mirror_comes_from_the_environment(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(d4rl.URL_VARIABLE, f"{server.url}/")
    assert d4rl.download(FILE, tmp_path, ignore, ignore).read_bytes() == CONTENT


def test_a_file_without_a_record_is_checked_by_its_content(server: Server, tmp_path: Path) -> None:
    path = tmp_path / FILE.file
    path.write_bytes(CONTENT)
    download(tmp_path, server.url)
    assert server.requests == []
    assert (tmp_path / f"{FILE.file}.sha256").exists()
    # Changed after it was recorded, and of the same length.
    path.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    os.utime(path, ns=(time.time_ns() + 10**9, time.time_ns() + 10**9))
    download(tmp_path, server.url)
    assert server.requests == [None]
    assert path.read_bytes() == CONTENT


def test_an_interrupted_download_continues(server: Server, tmp_path: Path) -> None:
    server.stop_after = 600_000
    fails(tmp_path, server.url, r"broke off at byte 600,000 of 1,500,000; the next attempt continues there")
    server.stop_after = None
    assert download(tmp_path, server.url).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=600000-"]
    assert server.sent == len(CONTENT)


def test_a_server_that_ignores_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    part(tmp_path).write_bytes(b"x" * 600_000)
    server.ranges = False
    assert download(tmp_path, server.url).read_bytes() == CONTENT


def test_a_server_that_continues_elsewhere_is_not_trusted(server: Server, tmp_path: Path) -> None:
    part(tmp_path).write_bytes(CONTENT[:600_000])
    server.ranges = "wrong"
    fails(tmp_path, server.url, "did not continue at byte 600,000 as asked")
    assert not part(tmp_path).exists()


def test_a_complete_part_needs_no_server(tmp_path: Path) -> None:
    part(tmp_path).write_bytes(CONTENT)
    assert download(tmp_path, "http://127.0.0.1:1").read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    part(tmp_path).write_bytes(CONTENT + b"x")
    assert download(tmp_path, server.url).read_bytes() == CONTENT
    assert server.requests == [None]


def test_other_content_is_removed(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"x"
    fails(tmp_path, server.url, r"is not the published file: its SHA-256 differs; name a mirror in MOPO_D4RL_URL")
    assert not part(tmp_path).exists()


@pytest.mark.parametrize("size", [1_000_000, 2_000_000])
def test_another_length_is_not_even_fetched(server: Server, tmp_path: Path, size: int) -> None:
    server.content = (CONTENT * 2)[:size]
    fails(tmp_path, server.url, f"is not the published file: {size} bytes, not 1500000")
    assert not part(tmp_path).exists()


def test_another_length_that_is_not_told_beforehand(server: Server, tmp_path: Path) -> None:
    server.length = False
    server.content = CONTENT + b"x" * 1_000_000
    fails(tmp_path, server.url, "is not the published file: it is longer than 1,500,000 bytes")
    assert not part(tmp_path).exists()
    server.content = CONTENT[:1_000_000]
    fails(tmp_path, server.url, "broke off at byte 1,000,000 of 1,500,000")
    server.content = CONTENT
    assert download(tmp_path, server.url).read_bytes() == CONTENT


def test_a_stream_without_end_does_not_fill_the_disk(server: Server, tmp_path: Path) -> None:
    server.length, server.content, sizes = False, CONTENT * 2, []

    def poll() -> None:
        sizes.append(part(tmp_path).stat().st_size if part(tmp_path).exists() else 0)

    with pytest.raises(DatasetError, match="is longer than"):
        d4rl.download(FILE, tmp_path, ignore, poll, server.url)
    assert max(sizes) <= len(CONTENT) + PIECE


def test_a_part_longer_than_the_servers_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    part(tmp_path).write_bytes(CONTENT[:600_000])
    server.content = CONTENT[:500_000]
    fails(tmp_path, server.url, "416 Requested Range Not Satisfiable")
    assert not part(tmp_path).exists()


def test_an_http_error(server: Server, tmp_path: Path) -> None:
    fails(
        tmp_path,
        f"{server.url}/elsewhere",
        r"/elsewhere/gym/a-v2\.hdf5: 404 Not Found; name a mirror in MOPO_D4RL_URL, or ",
    )


def test_a_host_that_never_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        start = time.monotonic()
        said = r"127\.0\.0\.1:\d+ did not answer within 0\.3 s; name a mirror in MOPO_D4RL_URL, or import .*: mopo data import PATH"
        fails(tmp_path, url, said, timeout=0.3)
    assert time.monotonic() - start < 3


def test_a_host_that_goes_quiet(server: Server, tmp_path: Path) -> None:
    server.stop_after, server.stall = 600_000, True
    fails(tmp_path, server.url, r"did not answer within 0\.3 s", timeout=0.3)
    assert part(tmp_path).read_bytes() == CONTENT[:600_000]


def test_a_host_that_refuses_and_one_that_does_not_exist(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    fails(
        tmp_path,
        f"http://127.0.0.1:{port}",
        rf"127\.0\.0\.1:{port} cannot be reached \(Connection refused\); name a mirror",
    )
    fails(tmp_path, "http://nowhere.invalid", r"nowhere\.invalid cannot be reached \(.+\); name a mirror")


@pytest.mark.parametrize(
    "url", ["file:///etc", "ftp://127.0.0.1", "mirror/d4rl", "http://", "http://[::1", "http://a b"]
)
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    fails(tmp_path, url, r"is no http or https address|cannot be reached")


def test_a_full_disk(server: Server, tmp_path: Path) -> None:
    part(tmp_path).symlink_to("/dev/full")  # every write to it is ENOSPC
    fails(
        tmp_path, server.url, r"cannot write .*\.part: the disk is full; what came so far is kept, and the next attempt"
    )


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_came_before_the_disk_was_full_is_continued(server: Server, tmp_path: Path) -> None:
    with files_at_most(1_000_000):
        fails(tmp_path, server.url, r"cannot write .*\.part: File too large; what came so far is kept")
    kept = part(tmp_path).stat().st_size
    assert 0 < kept <= 1_000_000
    assert download(tmp_path, server.url).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={kept}-"]


def test_too_little_space_is_told_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    huge = d4rl_files.D4rlFile("b-v2", "b-v2.hdf5", "gym/b-v2.hdf5", 10**18, SHA256, "Hopper", "b", 2, None)
    with pytest.raises(DatasetError, match=r"has \d+ MB free; b-v2\.hdf5 needs 1000000000000 MB"):
        d4rl.download(huge, tmp_path, ignore, ignore, server.url)
    assert server.requests == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file" / "below", Path("/sys/mopo")):
        fails(folder, "http://127.0.0.1:1", "cannot write below")


def test_a_stop_keeps_what_came(server: Server, tmp_path: Path) -> None:
    def poll() -> None:
        if part(tmp_path).exists() and part(tmp_path).stat().st_size:
            raise Stopped(143, "asked")

    with pytest.raises(Stopped):
        d4rl.download(FILE, tmp_path, ignore, poll, server.url)
    kept = part(tmp_path).stat().st_size
    assert part(tmp_path).read_bytes() == CONTENT[:kept]
    assert download(tmp_path, server.url).read_bytes() == CONTENT
    assert server.requests[1] == f"bytes={kept}-"


_FETCH = """
import sys
from pathlib import Path
from engine import d4rl_files
from engine.data import d4rl
url, folder, size, sha256 = sys.argv[1:]
file = d4rl_files.D4rlFile("a-v2", "a-v2.hdf5", "gym/a-v2.hdf5", int(size), sha256, "Hopper", "a", 2, None)
print(d4rl.download(file, Path(folder), lambda *_: None, lambda: None, url))
"""


def test_two_processes_at_once_fetch_once(server: Server, tmp_path: Path) -> None:
    server.delay = 0.3
    command = [sys.executable, "-c", _FETCH, server.url, str(tmp_path), str(len(CONTENT)), SHA256]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.strip() == str(tmp_path / FILE.file)
    assert server.requests == [None]
    assert (tmp_path / FILE.file).read_bytes() == CONTENT
