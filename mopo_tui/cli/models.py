"""`mopo models`: fitted ensembles that runs with the same data, dynamics settings and seed take instead of fitting their own."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mopo_tui.cli.options import JsonOption

app = typer.Typer(
    help="List and remove the fitted ensembles that later runs reuse.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("ls")
def ls(as_json: JsonOption = False) -> None:
    """List the kept ensembles, the newest first."""
    from mopo_tui.cli import output
    from mopo_tui.manager.datasets import datasets
    from mopo_tui.manager.ensembles import kept_ensembles

    found = kept_ensembles()
    if as_json:
        output.document([kept.to_json() for kept in found])
        return
    if not found:
        output.narrate("no ensembles are kept yet; every run of mopo or mbpo keeps the one it fits")
        return
    names = {status.fingerprint: status.id for status in datasets() if status.fingerprint}
    table = output.table(
        "key", "dataset", "seed", "members", "holdout MSE", "MB", "age", right=("seed", "members", "MB")
    )
    for kept in found:
        losses = sorted(kept.val_loss)
        spread = f"{losses[0]:.3g} to {losses[-1]:.3g}" if losses else "–"
        members = str(kept.dynamics.get("members", "–"))
        data = names.get(kept.dataset, kept.dataset[:12] or "cannot be read")
        table.add_row(
            kept.key,
            data,
            str(kept.seed),
            members,
            spread,
            f"{kept.bytes / 1e6:.1f}",
            output.age(kept.t) if kept.t else "–",
        )
    output.console().print(table)


@app.command("rm")
def rm(
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Keys, or how they begin.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove kept ensembles; asks first. Runs that used one have their own copy."""
    from mopo_tui.cli import output
    from mopo_tui.manager import StoreError
    from mopo_tui.manager.ensembles import find_ensemble, kept_ensembles, remove_ensemble

    present = kept_ensembles()
    chosen = {kept.key: kept for kept in (find_ensemble(key, present) for key in keys)}
    total = sum(kept.bytes for kept in chosen.values())
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise StoreError("rm asks before it removes, and there is no terminal to answer on: say --yes")
        if not typer.confirm(f"Remove {', '.join(chosen)} ({total / 1e6:.1f} MB)?", default=False, err=True):
            output.narrate("nothing removed")
            return
    for kept in chosen.values():
        remove_ensemble(kept)
    output.narrate(f"removed {total / 1e6:.1f} MB")
