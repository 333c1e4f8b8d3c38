"""What the manager refuses or cannot do; each is one clear line for a person (standard library only)."""

from __future__ import annotations


class StoreError(ValueError):
    """A store that cannot be used, or a request that does not fit a run's state; one clear line."""


class RunNotFound(ValueError):
    """No run, or more than one, goes by that reference; one clear line."""


class LaunchError(RuntimeError):
    """A run that could not be started; one clear line."""
