"""`mopo evaluate` and `mopo play`: what a trained policy does in the real environment, by an engine process."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from mopo_tui.cli.options import JsonOption, RunArgument, RunsOption
from mopo_tui.manager.policy_process import EngineRefused, PolicyProcess

if TYPE_CHECKING:
    from mopo_tui.manager import Run

Which = Literal["final", "best"]
WhichOption = Annotated[Which, typer.Option("--which", help="The last policy, or that of the best evaluation.")]
SeedOption = Annotated[
    int,
    typer.Option("--seed", "-s", min=0, help="Of the initial states; the run's own seed repeats its final evaluation."),
]
SUFFIXES = (".mp4", ".gif")
PIXELS = 480
PLAIN_SECONDS = 10.0


def evaluate(
    run: RunArgument,
    episodes: Annotated[int, typer.Option("--episodes", "-n", min=1, help="Complete episodes.")] = 100,
    environment: Annotated[
        str | None, typer.Option("--env", metavar="ID", help="Another Gymnasium environment than the run's own.")
    ] = None,
    which: WhichOption = "final",
    seed: SeedOption = 0,
    store: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a run's policy in the real environment."""
    from mopo_tui.cli import output

    chosen = _find(run, store)
    more = [] if environment is None else ["--env", environment]
    with Engine("evaluate", chosen.folder, which, seed, "--episodes", str(episodes), *more) as engine:
        result = engine.result("episodes")
    document = _document(chosen, result)
    if as_json:
        output.document(document)
    else:
        _print(chosen, document)


def play(
    run: RunArgument,
    which: WhichOption = "final",
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Film one episode: a .mp4 or .gif file.")
    ] = None,
    width: Annotated[int | None, typer.Option("--width", min=16, max=4096, help="Of the film, in pixels; 480.")] = None,
    height: Annotated[int | None, typer.Option("--height", min=16, max=4096, help="The same.")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Environment steps, of as many episodes as that takes.")
    ] = None,
    store: RunsOption = None,
) -> None:
    """Watch a run's policy in the terminal, or film it: the episodes that `mopo evaluate` scores, from the first on."""
    from mopo_tui.manager import StoreError

    if out is None:
        if width is not None or height is not None:
            raise StoreError("--width and --height are those of a film: name it with --out FILE.mp4 or FILE.gif")
        if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
            raise StoreError("no terminal to draw on: --out FILE.mp4 or FILE.gif films the policy instead")
        _watch(_find(run, store), which, seed, steps)
        return
    size = (width or PIXELS, height or PIXELS)
    _check(out, size)
    _film(_find(run, store), which, seed, steps, out, size)


def _find(reference: str, store: Path | None) -> Run:
    from mopo_tui.manager import Store, StoreError

    found = Store.open(store).find(reference)
    if found.job == "dataset":
        raise StoreError(f"{found.id} made a dataset: it has no policy")
    return found


# --- evaluating -------------------------------------------------------------------------------------------------------------------


def _document(run: Run, result: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's result with the run's name and, where the run's scale holds, the normalized score and that scale."""
    from engine import record
    from mopo_tui.manager.run import number_of, text_of
    from mopo_tui.manager.scores import normalized_score

    recorded = record.read_json(run.folder / record.ENVIRONMENT) or {}
    # An environment's versions share a scale: D4RL's numbers are older than any of those that run today.
    robots = [str(about["environment"]["id"]).rpartition("-v")[0] for about in (recorded, result)]
    value = number_of(result, "return")
    score = None if value is None or robots[0] != robots[1] else normalized_score(value, recorded)
    scale = None
    if score is not None:
        of = recorded["references"]["scale"]
        scale = {"min": number_of(of, "min"), "max": number_of(of, "max"), "origin": text_of(of, "origin")}
    return {"run": run.id, "name": run.name, "task": run.task, **result, "normalized_score": score, "scale": scale}


def _print(run: Run, document: Mapping[str, Any]) -> None:
    from engine import record
    from mopo_tui.cli import output
    from mopo_tui.manager.run import number_of
    from mopo_tui.manager.scores import evaluated_in, reference_title, references
    from mopo_tui.manager.state import clean

    console = output.console()
    names = ("return", "± std", "std error", "length", "score %", "progress")
    table = output.table(run.name, *names, right=names)
    keys = ("return", "return_std", "return_stderr", "length", "normalized_score", "progress")
    cells = [output.number(number_of(document, key), 0 if key == "length" else 1) for key in keys]
    episodes = "1 episode" if document["episodes"] == 1 else f"{document['episodes']} episodes"
    table.add_row(f"{document['which']} policy ({episodes})", *cells)
    recorded = record.read_json(run.folder / record.ENVIRONMENT) or {}
    where, own = document["environment"], recorded["environment"]
    if (where["id"], where["options"]) == (own["id"], own.get("options", {})):
        for name, score in references(recorded).items():
            numbers = (score.value, score.std, score.stderr, score.length, score.normalized, score.progress)
            count = f" ({score.episodes} episodes)" if score.episodes else ""
            cells = [output.number(each, 0 if key == "length" else 1) for key, each in zip(keys, numbers, strict=True)]
            table.add_row(reference_title(name) + count, *cells)
    console.print(table)
    console.print(clean(f"evaluated in {evaluated_in(document)}; seed {document['seed']}"), soft_wrap=True)
    if scale := document["scale"]:
        line = f"score: 0 is a return of {scale['min']:g}, 100 one of {scale['max']:g}"
        console.print(line + (f"; {scale['origin']}" if scale["origin"] else ""), soft_wrap=True)
    elif where["id"] != own["id"]:
        console.print(clean(f"no score: the run's own environment is {own['id']}"), soft_wrap=True)


# --- watching and filming ---------------------------------------------------------------------------------------------------------


def _watch(run: Run, which: Which, seed: int, steps: int | None) -> None:
    from mopo_tui.cli.screen import show

    more = [] if steps is None else ["--steps", str(steps)]
    with Engine("frames", run.folder, which, seed, *more, asks=True) as engine:
        show(engine, f"{run.name} · {which} policy")


def _check(out: Path, size: tuple[int, int]) -> None:
    """Refuse what cannot become a film, before anything is drawn."""
    from mopo_tui.cli import errors
    from mopo_tui.manager import StoreError

    if out.suffix.lower() not in SUFFIXES:
        raise StoreError(f"{out}: a film is a {' or a '.join(SUFFIXES)} file")
    if out.suffix.lower() == ".mp4" and any(pixels % 2 for pixels in size):
        raise StoreError(f"an MP4's width and height are even numbers, not {size[0]} × {size[1]}")
    if out.is_dir():
        raise StoreError(f"{out} is a folder")
    if not out.absolute().parent.is_dir():
        _refuse(errors.UNAVAILABLE, f"{out}: there is no folder {out.absolute().parent}")


def _film(run: Run, which: Which, seed: int, steps: int | None, out: Path, size: tuple[int, int]) -> None:
    from mopo_tui.cli import output

    more = ["--out", str(out.absolute()), "--width", str(size[0]), "--height", str(size[1])]
    more += [] if steps is None else ["--steps", str(steps)]
    with Engine("film", run.folder, which, seed, *more) as engine:
        result = engine.result("pictures")
    for number, episode in enumerate(result["episodes"], 1):
        cut = "" if episode["complete"] else ", not to its end"
        output.narrate(f"episode {number}: return {float(episode['return']):.1f} in {episode['length']} steps{cut}")
    seconds = result["pictures"] / result["rate"]
    output.narrate(f"{result['pictures']} pictures, {seconds:.1f} s, {out.stat().st_size / 1e6:.1f} MB")
    print(out)


# --- the engine's process ---------------------------------------------------------------------------------------------------------


class Engine(PolicyProcess):
    """The process at work; gone at the end of the `with` block, however that comes.

    What it refuses is told there, and becomes the exit code: by then the screen is the terminal's own again.
    """

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        from mopo_tui.cli import output

        self.end()
        if isinstance(error, EngineRefused):
            for line in error.said:
                output.narrate(line)
            _refuse(error.code, str(error))

    def result(self, what: str) -> dict[str, Any]:
        """Its result, its progress in `what` shown until then."""
        with _progress(what) as told:
            while True:
                values = self.answer()
                if "result" in values:
                    result: dict[str, Any] = values["result"]
                    return result
                told(int(values["done"]), int(values["of"]))


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Any]:
    """A bar on stderr, or a line every ten seconds where it is no terminal."""
    from mopo_tui.cli import output

    if not sys.stderr.isatty():
        last = time.monotonic()

        def tell(done: int, of: int) -> None:
            nonlocal last
            if time.monotonic() - last >= PLAIN_SECONDS:
                last = time.monotonic()
                output.narrate(f"{time.strftime('%H:%M:%S')} {done} of {of} {what}")

        yield tell
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output.console(sys.stderr), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _refuse(code: int, message: str) -> NoReturn:
    from mopo_tui.cli import output

    output.narrate(f"mopo: {message}")
    raise typer.Exit(code)
