"""Fetching other people's Minari datasets, from a server of our own that answers as the hub does."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import minari
import pytest
from test_data_minari_import import ID, episode, make

from engine.control import Stopped
from engine.data import minari_fetch, minari_import
from engine.data.dataset import DatasetError


@pytest.fixture(autouse=True)
def minari_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "minari"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    return root


OWNER, COMMIT = "farama-minari", "a" * 40


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of the hub for a folder of datasets; each top folder is a repository."""

    protocol_version = "HTTP/1.1"
    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        body, headers = self._body(parts), {"X-Repo-Commit": COMMIT}
        if parts[0] == "datasets":
            headers |= {"X-Error-Code": "EntryNotFound"} if body is None else {"ETag": f'"{hash(path)}"'}
        self.send_response(404 if body is None else 200)
        for name, value in {**headers, "Content-Length": str(len(body or b""))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET" and body:
            self.wfile.write(body)

    def _body(self, parts: list[str]) -> bytes | None:
        match parts:
            case ["api", "datasets"]:
                return json.dumps([{"id": f"{OWNER}/{path.name}"} for path in self.folder.iterdir()]).encode()
            case ["api", "datasets", _, name, what, *_]:
                repository = self.folder / name
                files = [path for path in sorted(repository.rglob("*")) if path.is_file()]
                names = [str(path.relative_to(repository)) for path in files]
                if what == "revision":
                    siblings = [{"rfilename": name} for name in names]
                    return json.dumps({"id": f"{OWNER}/{name}", "sha": COMMIT, "siblings": siblings}).encode()
                sizes = [path.stat().st_size for path in files]
                tree = [
                    {"type": "file", "path": n, "size": s, "oid": COMMIT} for n, s in zip(names, sizes, strict=True)
                ]
                return json.dumps(tree).encode()
            case ["datasets", _, name, "resolve", _, *inside]:
                path = self.folder.joinpath(name, *inside)
                return path.read_bytes() if path.is_file() else None
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub on this machine with the dataset people/deep/hopper-v0; what it was asked."""
    theirs = tmp_path / "theirs"
    with monkeypatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(theirs))
        make("people/deep/hopper-v0", episode(30, True), env="Hopper-v5", requirements=["mujoco==3.2.3"])
        make("people/deep/half-v0", episode(3))
    minari_half = theirs / "people/deep/half-v0/data/main_data.hdf5"
    minari_half.unlink()
    names = ["people/deep/hopper-v0", "people/deep/half-v0"]
    about = {"datasets": names, "namespaces": ["people/deep"]}
    (theirs / "people" / "namespace_metadata.json").write_text(json.dumps(about))
    asked: list[str] = []
    handler = type("HubHere", (Hub,), {"folder": theirs, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    yield asked
    server.shutdown()
    server.server_close()
    assert left_in(tmp_path / "hf") == []  # huggingface_hub's own cache


def left_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*")) if root.exists() else []


def test_a_dataset_is_fetched(hub: list[str], minari_root: Path) -> None:
    seen: list[tuple[int, int]] = []
    folder = minari_fetch.fetch("people/deep/hopper-v0", lambda *done: seen.append(done), lambda: None)
    assert folder == minari_root / "people/deep/hopper-v0"
    assert left_in(minari_root) == [
        "people",
        "people/deep",
        "people/deep/hopper-v0",
        "people/deep/hopper-v0/data",
        "people/deep/hopper-v0/data/main_data.hdf5",
        "people/deep/hopper-v0/data/metadata.json",
        "people/deep/namespace_metadata.json",
        "people/namespace_metadata.json",
    ]
    assert all(0 <= done <= total and total > 0 for done, total in seen)
    assert seen[-1][0] > 10_000
    assert len(minari.load_dataset("people/deep/hopper-v0")[0]) == 30
    assert minari_import.read("people/deep/hopper-v0").manifest["environment"] == "Hopper-v5"
    asked = len(hub)
    assert asked
    assert minari_fetch.fetch("people/deep/hopper-v0", lambda *_: None, lambda: None) == folder
    assert len(hub) == asked

    with pytest.raises(DatasetError, match="half-v0 is no whole Minari dataset in HDF5"):
        minari_fetch.fetch("people/deep/half-v0", lambda *_: None, lambda: None)
    assert [path for path in left_in(minari_root) if "half" in path or "mopo" in path] == []


@pytest.mark.usefixtures("hub")
def test_an_id_that_the_server_has_not(minari_root: Path) -> None:
    with pytest.raises(DatasetError, match=r"server has no dataset people/deep/hopper-v1; did you mean .*hopper-v0"):
        minari_fetch.fetch("people/deep/hopper-v1", lambda *_: None, lambda: None)
    assert left_in(minari_root) == []


@pytest.mark.parametrize("dataset_id", ["people/hopper", "hf://somebody/people/hopper-v0", "../hopper-v0"])
def test_an_id_that_is_none(dataset_id: str) -> None:
    make(ID)
    with pytest.raises(DatasetError, match=r"is no id of a Minari dataset.*did you mean people/hopper-v0\?"):
        minari_fetch.fetch(dataset_id, lambda *_: None, lambda: None)


def test_offline_is_told_at_once(minari_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, and nobody listens
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(
            DatasetError, match=r"127\.0\.0\.1 cannot be reached \(Connection refused\); copy .*ours, d4rl"
        ):
            minari_fetch.fetch(ID, lambda *_: None, lambda: None)
        assert time.monotonic() - begun < 5
    assert left_in(minari_root) == []


def test_an_endpoint_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "the moon")
    with pytest.raises(DatasetError, match="HF_ENDPOINT is 'the moon', no http or https address"):
        minari_fetch.fetch(ID, lambda *_: None, lambda: None)


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A server that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        server.settimeout(30)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield server


def request_of_the_child(server: socket.socket) -> socket.socket:
    """The first connection on which something is asked: the one before only tries whether the server is there."""
    while True:
        connection, _ = server.accept()
        connection.settimeout(30)
        if connection.recv(4):
            return connection
        connection.close()


def wait_for_the_end(connection: socket.socket) -> None:
    """Return once the other side is gone."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass


def test_a_server_that_never_answers(minari_root: Path, silence: socket.socket) -> None:
    begun = time.monotonic()
    with pytest.raises(DatasetError, match=f"{ID}: the server sent nothing for 1 s; try again, or copy"):
        minari_fetch.fetch(ID, lambda *_: None, lambda: None, answer=1)
    assert time.monotonic() - begun < 10
    assert left_in(minari_root) == []
    del silence


def test_a_fetch_that_is_stopped_leaves_nothing(minari_root: Path, silence: socket.socket) -> None:
    connections: list[socket.socket] = []
    waiting = threading.Thread(target=lambda: connections.append(request_of_the_child(silence)), daemon=True)
    waiting.start()

    def poll() -> None:
        if connections:  # the child is at work
            raise Stopped(143, "stopped on request")

    with pytest.raises(Stopped):
        minari_fetch.fetch(ID, lambda *_: None, poll)
    assert left_in(minari_root) == []
    wait_for_the_end(connections[0])


def test_the_download_ends_with_the_process_that_wants_it(minari_root: Path, silence: socket.socket) -> None:
    code = f"from engine.data.minari_fetch import fetch; fetch({ID!r}, lambda *_: None, lambda: None)"
    wanting = subprocess.Popen([sys.executable, "-P", "-c", code])
    connection = request_of_the_child(silence)
    wanting.send_signal(signal.SIGKILL)
    wanting.wait()
    wait_for_the_end(connection)
    assert any(name.startswith(".mopo-building-") for name in left_in(minari_root))
    with pytest.raises(DatasetError, match="sent nothing"):
        minari_fetch.fetch(ID, lambda *_: None, lambda: None, answer=0.5)
    assert left_in(minari_root) == []


def test_behind_a_proxy_the_proxy_is_what_must_be_reached(
    minari_root: Path, silence: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{silence.getsockname()[1]}")
    with pytest.raises(DatasetError, match=r"the server sent nothing for 0\.5 s"):
        minari_fetch.fetch(ID, lambda *_: None, lambda: None, answer=0.5)
    silence.close()
    with pytest.raises(DatasetError, match=r"the proxy 127\.0\.0\.1 cannot be reached"):
        minari_fetch.fetch(ID, lambda *_: None, lambda: None)
    monkeypatch.setenv("NO_PROXY", "hub.invalid")
    with pytest.raises(DatasetError, match=r"hub\.invalid cannot be reached|hub\.invalid does not answer"):
        minari_fetch.fetch(ID, lambda *_: None, lambda: None)
    assert left_in(minari_root) == []
