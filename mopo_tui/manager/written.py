"""Numbers and durations as people write them."""

from __future__ import annotations


def number(value: float | None, digits: int = 1) -> str:
    """A number for people; a dash for none."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"  # never -0.0


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 45s, 12m30s, 3h05m, 2d04h."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"
