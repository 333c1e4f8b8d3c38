"""What runs measured, for other programs: CSV, JSON, Parquet and TensorBoard. Files are written whole or not at all."""

from __future__ import annotations

import csv
import io
import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine import record
from mopo_tui.manager.run import Run
from mopo_tui.manager.series import RunReader
from mopo_tui.manager.settings import read_settings
from mopo_tui.manager.state import clean
from mopo_tui.manager.store import StoreError

if TYPE_CHECKING:
    from mopo_tui.manager.series import Floats

_ABOUT = ("run", "name", "task", "algorithm", "seed")
COLUMNS = (*_ABOUT, "metric", "step", "update", "epoch", "t", "value")


def check_target(path: Path, force: bool) -> None:
    """Refuse a place where nothing can be written, or where something is.

    Raises:
        StoreError: with what to do.
    """
    if not path.absolute().parent.is_dir():
        raise StoreError(f"{path}: there is no folder {path.absolute().parent}")
    if path.is_dir():
        raise StoreError(f"{path} is a folder")
    if path.exists() and not force:
        raise StoreError(f"{path} is there already; --force overwrites it")


def write_target(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        record.write_atomically(path, content)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None


def read(run: Run) -> RunReader:
    """Everything that a run has recorded so far.

    Raises:
        StoreError: its folder cannot be read.
    """
    if run.problem:
        raise StoreError(f"{run.id}: {run.problem}")
    reader = RunReader(run.folder)
    reader.refresh()
    return reader


# --- tables -----------------------------------------------------------------------------------------------------------------------


def to_csv(runs: Sequence[Run]) -> str:
    """One row per run, metric and step, with `COLUMNS`; what is not known is empty, and no number is "nan", "inf" or "-inf"."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in runs:
        reader = read(run)
        about = _about(run)
        for name in reader.names():
            series = reader.series(name)
            columns = (map(_whole, series.step), map(_whole, series.update), map(_whole, series.epoch))
            for step, update, epoch, t, value in zip(*columns, series.t.tolist(), series.value.tolist(), strict=True):
                writer.writerow((*about, clean(name), step, update, epoch, "" if t != t else t, value))
    return text.getvalue()


def to_parquet(runs: Sequence[Run]) -> bytes:
    """The same table as Parquet.

    Raises:
        StoreError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise StoreError("Parquet files need pyarrow, which is not installed: pip install pyarrow") from None
    parts: list[Any] = []
    types = [*(pyarrow.string(),) * 4, pyarrow.int64(), pyarrow.string(), *(pyarrow.float64(),) * 5]
    schema = pyarrow.schema(list(zip(COLUMNS, types, strict=True)))
    for run in runs:
        reader = read(run)
        for name in reader.names():
            series = reader.series(name)
            texts = [[value] * len(series) for value in (*_about(run), clean(name))]
            numbers = [series.step, series.update, series.epoch, series.t, series.value]
            parts.append(pyarrow.table([*texts, *numbers], schema=schema))
    data = io.BytesIO()
    parquet.write_table(pyarrow.concat_tables(parts) if parts else schema.empty_table(), data)
    return data.getvalue()


def to_json(runs: Sequence[Run]) -> str:
    """One document: each run with its folder's small files, configuration, events, histograms, and metrics as columns by name."""
    return record.dumps({"format": record.FORMAT, "runs": [_document(run) for run in runs]}) + "\n"


def _document(run: Run) -> dict[str, Any]:
    reader = read(run)
    metrics = {}
    for name in reader.names():
        series = reader.series(name)
        columns = {key: [_whole(v) for v in getattr(series, key)] for key in ("step", "update", "epoch")}
        metrics[name] = {
            **{key: [None if v == "" else v for v in values] for key, values in columns.items()},
            "t": series.t.tolist(),
            "value": series.value.tolist(),
        }
    return {
        **run.to_json(),
        "run": record.read_json(run.folder / record.RUN),
        "configuration": read_settings(run.folder),
        "environment": reader.environment,
        "events": reader.events,
        "histograms": {"edges": record.histogram_edges(), "rows": record.read_rows(run.folder / record.HISTOGRAMS)[0]},
        "metrics": metrics,
    }


def _about(run: Run) -> tuple[str, str, str, str, int]:
    return run.id, run.name, run.task, run.algorithm or run.job, run.seed


def _whole(value: float) -> int | float | str:
    """A step as a whole number where it is one; empty for none."""
    if value != value:
        return ""
    return int(value) if float(value).is_integer() else float(value)


# --- TensorBoard ------------------------------------------------------------------------------------------------------------------
#
# An event file is a sequence of records (length, masked CRC of the length, data, masked CRC of the data), of which each holds one
# protocol buffer `Event`. Both are simple enough to be written here: field = number << 3 | wire type, then the value.


def write_tensorboard(runs: Sequence[Run], folder: Path, force: bool) -> list[Path]:
    """One event file per run under `folder`, in a folder of the run's id: scalars, histograms, and the configuration as text.

    Returns:
        the files.

    Raises:
        StoreError: the folder holds something, and `force` is not given; or it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file: event files are written into a folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise StoreError(f"{folder} is not empty; --force writes into it all the same")
    files: list[Path] = []
    for run in runs:
        content = b"".join(_records(_events(run)))
        place = folder / run.id
        for number in itertools.count(2):
            if not any(file.parent == place for file in files):
                break
            place = folder / f"{run.id}-{number}"  # of another store
        files.append(place / f"events.out.tfevents.{int(run.created):010d}.mopo")
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{place}: cannot be made: {error.strerror}") from None
        write_target(files[-1], content)
    return files


def _events(run: Run) -> Iterator[bytes]:
    reader = read(run)
    yield _double(1, run.created) + _bytes(3, b"brain.Event:2")
    configuration = "\n".join(f"    {key} = {value}" for key, value in reader.config.items())
    if configuration:
        yield _event(run.created, 0, [_text("configuration", configuration)])
    points: list[tuple[float, float, str, float]] = []
    for name in reader.names():
        series = reader.series(name)
        points += zip(series.step.tolist(), series.t.tolist(), [name] * len(series), series.value.tolist(), strict=True)
    points = [point for point in points if np.isfinite(point[0])]
    for (step, t), group in itertools.groupby(sorted(points, key=lambda p: p[:3]), key=lambda p: p[:2]):
        yield _event(t, step, [_bytes(1, _utf8(name)) + _float(2, value) for _, _, name, value in group])
    for row in record.read_rows(run.folder / record.HISTOGRAMS)[0]:
        yield from _histogram_event(row)


def _histogram_event(row: Mapping[str, Any]) -> Iterator[bytes]:
    counts = row.get("counts")
    values = []
    for name, found in counts.items() if isinstance(counts, Mapping) else ():
        try:
            array = np.asarray(found, dtype=np.float64)
            step, t = record.number(row.get("step")), record.number(row.get("t"))
        except (TypeError, ValueError, OverflowError):
            continue
        if array.shape == (record.HISTOGRAM_BINS + 2,) and array.any() and np.isfinite([step, t, *array]).all():
            values.append(_bytes(1, _utf8(f"uncertainty/histogram/{name}")) + _bytes(5, _histogram(array)))
    if values:
        yield _event(t, step, values)


def _histogram(counts: Floats) -> bytes:
    """A HistogramProto of one bucket per bin, from the first that holds something to the last."""
    edges = np.array(record.histogram_edges())
    lower, upper = np.append(0.0, edges), np.append(edges, 10 * edges[-1])  # under- and overflow have one more bin each
    held = np.flatnonzero(counts)
    first, last = held[0], held[-1] + 1
    centre = np.sqrt(np.maximum(lower, edges[0] / 10) * upper)
    numbers = (lower[first], upper[last - 1], counts.sum(), (counts * centre).sum(), (counts * centre**2).sum())
    statistics = b"".join(_double(i, float(number)) for i, number in enumerate(numbers, 1))
    return statistics + _doubles(6, upper[first:last]) + _doubles(7, counts[first:last])


def _event(t: float, step: float, values: Iterable[bytes]) -> bytes:
    return _double(1, t) + _whole_number(2, int(step)) + _bytes(5, b"".join(_bytes(1, value) for value in values))


def _text(tag: str, text: str) -> bytes:
    """A Summary.Value that the text plugin shows."""
    tensor = _whole_number(1, 7) + _bytes(2, _bytes(2, _whole_number(1, 1))) + _bytes(8, _utf8(text))
    return _bytes(1, _utf8(tag)) + _bytes(8, tensor) + _bytes(9, _bytes(1, _bytes(1, b"text")))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _whole_number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    with np.errstate(over="ignore"):  # beyond single precision is infinite
        return _varint(field << 3 | 5) + np.float32(value).tobytes()


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _doubles(field: int, values: Floats) -> bytes:
    return _bytes(field, np.asarray(values, "<f8").tobytes())


_TOGETHER = 4096  # records whose sums are computed at once


def _records(events: Iterator[bytes]) -> Iterator[bytes]:
    while data := list(itertools.islice(events, _TOGETHER)):
        lengths = [struct.pack("<Q", len(each)) for each in data]
        sums = zip(masked_crc32c(lengths), masked_crc32c(data), strict=True)
        for length, each, (of_length, of_data) in zip(lengths, data, sums, strict=True):
            yield length + struct.pack("<I", of_length) + each + struct.pack("<I", of_data)


def _crc_table() -> npt.NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(
            table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1
        )  # Castagnoli's polynomial, reflected
    return table


def masked_crc32c(texts: Sequence[bytes]) -> list[int]:
    """The checksums of TFRecord of several byte strings, computed side by side."""
    table, mask = _crc_table(), np.uint32(0xFF)
    order = sorted(
        range(len(texts)), key=lambda i: -len(texts[i])
    )  # the longest first: those still going on are a beginning
    lengths = np.array([len(texts[i]) for i in order])
    padded = np.zeros((len(texts), max(lengths, default=0)), np.uint8)
    for row, i in enumerate(order):
        padded[row, : len(texts[i])] = np.frombuffer(texts[i], np.uint8)
    sums = np.full(len(texts), 0xFFFFFFFF, np.uint32)
    columns = np.ascontiguousarray(padded.T)
    going_on = np.searchsorted(-lengths, -np.arange(1, padded.shape[1] + 1), side="right")
    for column, n in zip(columns, going_on, strict=True):
        sums[:n] = table[(sums[:n] ^ column[:n]) & mask] ^ sums[:n] >> np.uint32(8)
    sums ^= np.uint32(0xFFFFFFFF)
    rotated = sums >> np.uint32(15) | sums << np.uint32(17)
    masked = (rotated.astype(np.uint64) + np.uint64(0xA282EAD8)) & np.uint64(0xFFFFFFFF)
    found = [0] * len(texts)
    for i, value in zip(order, masked.tolist(), strict=True):
        found[i] = value
    return found
