"""The configuration that stands in a run folder, as far as it can be read. What reads it is loaded with the first one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine import record


def read_settings(folder: Path) -> dict[str, Any]:
    """config.toml by dotted key, with the epochs to which a finished run was extended; empty where it is missing or no TOML. Not
    validated: another version may have written it."""
    import tomli

    from engine.config import flatten

    try:
        settings = flatten(tomli.loads((folder / record.CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
    epochs = (record.read_json(folder / record.EXTENSION) or {}).get("epochs")
    return {**settings, "policy.epochs": epochs} if isinstance(epochs, int) else settings
