"""Fetching datasets from Minari's server into minari's folder, by minari in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from engine.data.dataset import DatasetError
from engine.data.minari_import import as_line, is_local, local_ids, nearest_id
from engine.data.minari_io import location, move_in, temporary_root
from engine.data_source import MINARI_ID
from engine.record import bytes_of, read_json

Poll = Callable[[], object]
Progress = Callable[[int, int], object]

DEFAULT_ENDPOINT = "https://huggingface.co"
PROBE_SECONDS = 3.0
ANSWER_SECONDS, TIMEOUT_SECONDS = 20.0, 60.0
POLL_SECONDS = 0.1
_FOUND, _ERROR, _LOG, _CACHE = "found.json", "error", "log", ".cache"


def fetch(
    dataset_id: str,
    progress: Progress,
    poll: Poll,
    timeout: float = TIMEOUT_SECONDS,
    answer: float = ANSWER_SECONDS,
) -> Path:
    """Download the dataset `dataset_id` from Minari's server into minari's folder, unless it is there.

    minari does it in a process of its own, into a temporary folder; the dataset appears by one rename. Nothing stays behind of a
    download that fails or is stopped.

    Args:
        progress: gets (bytes so far, bytes in all as far as known), ten times a second at most.
        poll: called as often; may raise to stop.
        timeout: seconds without a new byte after which it is given up.
        answer: seconds for the server to say what it has.

    Returns:
        The dataset's folder.

    Raises:
        DatasetError: no dataset of that id, the server cannot be reached or does not answer, or the disk is full.
    """
    folder = location(dataset_id)
    if not MINARI_ID.fullmatch(dataset_id):
        raise DatasetError(
            f"{dataset_id!r} is no id of a Minari dataset, which is (namespace/)name-v0 with its version"
            f"{nearest_id(dataset_id, list(local_ids()))}"
        )
    if is_local(dataset_id):
        return folder
    if importlib.util.find_spec("huggingface_hub") is None:
        raise DatasetError("downloading from Minari's server needs huggingface_hub: pip install huggingface_hub")
    instead = f"copy the dataset's folder to {folder}, or take another source (ours, d4rl:NAME)"
    unreachable = _unreachable(poll)
    if unreachable:
        raise DatasetError(f"{dataset_id} is not on this machine and cannot be fetched: {unreachable}; {instead}")
    try:
        with temporary_root() as root:
            _run_download(dataset_id, root, progress, poll, (answer, timeout), instead)
            made = root / dataset_id
            shutil.rmtree(made / _CACHE, ignore_errors=True)
            if not (made / "data" / "main_data.hdf5").is_file() or read_json(made / "data" / "metadata.json") is None:
                raise DatasetError(f"what came of {dataset_id} is no whole Minari dataset in HDF5; {instead}")
            if not is_local(dataset_id):  # another process may have fetched it meanwhile
                move_in(root, dataset_id)
    except OSError as error:
        raise DatasetError(f"cannot fetch {dataset_id} into {folder}: {error.strerror or error}") from None
    return folder


def _unreachable(poll: Poll) -> str | None:
    """Why the server cannot be reached, found out within seconds; None where it can, or where only trying can tell."""
    if not os.environ.get("MINARI_REMOTE", "hf://").startswith("hf://"):
        return None
    endpoint = os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    host, port = _address(endpoint)
    if not host:
        return f"HF_ENDPOINT is {endpoint!r}, no http or https address"
    who, proxies = host, urllib.request.getproxies()
    proxy = proxies.get(urlsplit(endpoint).scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(host):
        host, port = _address(proxy if "://" in proxy else f"http://{proxy}")
        who = f"the proxy {host}"
        if not host:
            return None
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def connect() -> None:
        try:
            socket.create_connection((host, port), PROBE_SECONDS).close()
            answers.put(None)
        except OSError as error:
            answers.put(f"{who} cannot be reached ({error.strerror or error})")

    # In a thread of its own, since resolving a name has no time-out.
    threading.Thread(target=connect, daemon=True).start()
    deadline = time.monotonic() + PROBE_SECONDS
    while time.monotonic() < deadline:
        poll()
        try:
            return answers.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
    return f"{who} does not answer within {PROBE_SECONDS:g} s"


def _address(url: str) -> tuple[str, int]:
    """Host and port of a URL; no host where it is none."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}[
            parts.scheme
        ]
    except (ValueError, KeyError):
        return "", 0


def _run_download(
    dataset_id: str, root: Path, progress: Progress, poll: Poll, patience: tuple[float, float], instead: str
) -> None:
    """Have a process download into `root`; it is gone at the end, however it comes.

    Args:
        patience: seconds to wait for the list of what there is, and between two bytes of it.

    Raises:
        DatasetError: it did not succeed, or nothing came for so long.
    """
    environment = os.environ | {
        "MINARI_DATASETS_PATH": str(root),
        "HF_HUB_CACHE": str(root / _CACHE),
        "HF_XET_CACHE": str(root / _CACHE / "xet"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-P", "-m", "engine.data.minari_fetch", dataset_id, str(root)]
    with open(root / _LOG, "w") as log:
        # The pipe tells it that this process has ended, even by SIGKILL.
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
    try:
        had, since = 0, time.monotonic()
        while child.poll() is None:
            poll()
            have = bytes_of(root)
            if have != had:
                had, since = have, time.monotonic()
                _tell(dataset_id, root, progress)
            elif time.monotonic() - since > (limit := patience[(root / _FOUND).exists()]):
                raise DatasetError(f"{dataset_id}: the server sent nothing for {limit:g} s; try again, or {instead}")
            time.sleep(POLL_SECONDS)
    finally:
        child.kill()
        child.wait()
        if child.stdin:
            child.stdin.close()
    poll()  # what ended it may have been a signal to the whole process group, and then this is a stop
    announced = _announced(root)
    if (root / _FOUND).exists() and dataset_id not in announced:
        near = nearest_id(dataset_id, sorted({*announced, *local_ids()}))
        raise DatasetError(f"Minari's server has no dataset {dataset_id}{near}")
    if child.returncode:
        said = _last_line(root / _ERROR) or _last_line(root / _LOG) or f"exit code {child.returncode}"
        raise DatasetError(f"{dataset_id} cannot be fetched ({said}); {instead}")
    _tell(dataset_id, root, progress)


def _tell(dataset_id: str, root: Path, progress: Progress) -> None:
    """Call `progress` once it is known how much there is, and raise DatasetError where that is more than the disk holds."""
    announced = _announced(root)
    if dataset_id not in announced:
        return
    have = bytes_of(root / dataset_id.partition("/")[0])  # where the parts of files lie, too
    total = max(have, announced[dataset_id], 1)
    free = shutil.disk_usage(root).free
    if total - have > free:
        raise DatasetError(
            f"{root.parent} has {free / 1e6:.0f} MB free; {dataset_id} needs {(total - have) / 1e6:.0f} MB"
        )
    progress(have, total)


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line for line in map(as_line, reversed(lines)) if line), "")


def _announced(root: Path) -> dict[str, int]:
    """The datasets that the server lists under the wanted name, with their bytes."""
    return read_json(root / _FOUND) or {}


def _download(dataset_id: str, root: Path) -> None:
    import minari

    listed = minari.list_remote_datasets(prefix=dataset_id.rpartition("-v")[0])
    megabytes = {name: metadata.get("dataset_size") for name, metadata in listed.items()}
    sizes = {name: round(1e6 * size) if type(size) in (int, float) else 0 for name, size in megabytes.items()}
    (root / f"{_FOUND}.part").write_text(json.dumps(sizes), encoding="utf-8")
    os.replace(root / f"{_FOUND}.part", root / _FOUND)
    if dataset_id in listed:
        minari.download_dataset(dataset_id)


def _main(dataset_id: str, root: Path) -> int:
    """What the downloading process does: `python -m engine.data.minari_fetch ID ROOT`."""

    def follow() -> None:
        os.read(0, 1)  # until the process that started this one closes the pipe or ends
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    try:
        _download(dataset_id, root)
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        (root / _ERROR).write_text(f"{type(error).__name__}: {said}", encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], Path(sys.argv[2])))
