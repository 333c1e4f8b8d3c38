"""Which keys of a configuration an algorithm reads: the others say nothing of its runs (standard library and tomli only)."""

from __future__ import annotations

from engine.config import ALGORITHMS, MODEL_BASED

# Sections and keys that some algorithms alone read; all others are read by every one.
_MODEL = ("dynamics.", "rollout.", "evaluation.calibration", "compute.reuse")
_READERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_MODEL, MODEL_BASED),
    "sac.": ("mopo", "mbpo", "sac"),
    "awac.": ("awac", "mb2po"),
    "mb2po.": ("mb2po",),
    "bc.": ("bc",),
}
# Behaviour cloning has SAC's policy, and the discount of the returns that evaluations tell.
_OF_BC = ("sac.hidden", "sac.log_std_min", "sac.log_std_max", "sac.discount")
_UNPENALISED = ("rollout.penalty", "rollout.penalty_samples")  # that mbpo has no penalty is its coefficient of 0


def uses(algorithm: str, key: str) -> bool:
    """Whether runs of `algorithm` depend on the dotted `key`. Of an algorithm or a key that is not known: yes."""
    if algorithm not in ALGORITHMS:
        return True
    if algorithm == "bc" and key in _OF_BC:
        return True
    if algorithm == "mbpo" and key in _UNPENALISED:
        return False
    return all(algorithm in readers for beginning, readers in _READERS.items() if key.startswith(beginning))
