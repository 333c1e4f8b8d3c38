"""Other people's Minari datasets, made here with plain minari: reading and refusing them."""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.spaces import Dict as DictSpace
from minari.data_collector import EpisodeBuffer

from engine import envs
from engine.control import Stopped
from engine.data import minari_import, minari_io
from engine.data.dataset import DatasetError, in_memory, row_width

ID = "people/hopper-v0"


@pytest.fixture(autouse=True)
def minari_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "minari"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    return root


def episode(length: int, terminated: bool = False, seed: int = 0, **instead: Any) -> EpisodeBuffer:
    """Rows of the hopper's dimensions, in the float64 that Gymnasium's environments give."""
    rng = np.random.default_rng(seed)
    flags = np.zeros(length, dtype=bool)
    flags[-1:] = terminated
    content: dict[str, Any] = {
        "observations": rng.normal(size=(length + 1, 11)),
        "actions": rng.uniform(-1, 1, (length, 3)).astype(np.float32),
        "rewards": rng.normal(size=length),
        "terminations": flags,
        "truncations": np.zeros(length, dtype=bool),
        "infos": {"x_position": rng.normal(size=length)},
    }
    return EpisodeBuffer(**(content | instead))


def make(dataset_id: str = ID, *episodes: EpisodeBuffer, **settings: Any) -> Path:
    """A dataset as minari writes it; returns its data folder."""
    if "env" not in settings:
        settings = {
            "observation_space": Box(-np.inf, np.inf, (11,), np.float64),
            "action_space": Box(-1, 1, (3,), np.float32),
        } | settings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(dataset_id, [*episodes] or [episode(5)], **settings)
    return minari_io.main_file(dataset_id).parent


def change(data: Path, **changes: Any) -> None:
    """Change the metadata as an editor would; None removes a key."""
    path = data / "metadata.json"
    metadata = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in metadata.items() if v is not None}))


def change_spec(data: Path, **changes: Any) -> None:
    spec = json.loads(json.loads((data / "metadata.json").read_text())["env_spec"])
    change(data, env_spec=json.dumps(spec | changes))


# --- what is read -----------------------------------------------------------------------------------------------------------------


def test_every_number_is_the_one_that_minari_gives() -> None:
    make(ID, episode(7, True, 1), episode(4, False, 2), episode(1, True, 3))
    dataset = minari_import.read(ID)
    assert dataset.episode_ends.tolist() == [7, 11, 12]
    assert dataset.terminals.tolist() == [0] * 6 + [1] + [0] * 4 + [1]
    for start, told in zip(dataset.episode_starts, minari.load_dataset(ID).iterate_episodes(), strict=True):
        rows = slice(start, start + len(told))
        np.testing.assert_array_equal(dataset.observations[rows], told.observations[:-1].astype(np.float32))
        np.testing.assert_array_equal(dataset.next_observations[rows], told.observations[1:].astype(np.float32))
        np.testing.assert_array_equal(dataset.actions[rows], told.actions)
        np.testing.assert_array_equal(dataset.rewards[rows], told.rewards.astype(np.float32))
    assert dataset.manifest["terminal_next_observations"] is True
    assert dataset.manifest["notes"] == ["the dataset names no environment"]


def test_numbers_stored_otherwise_are_read_too() -> None:
    make(
        ID,
        episode(
            3,
            observations=np.arange(44, dtype=np.int16).reshape(4, 11),
            rewards=np.array([1, 2, 3]),
            terminations=np.array([0.0, 0.0, 1.0]),
        ),
    )
    dataset = minari_import.read(ID)
    assert dataset.observations[1].tolist() == list(range(11, 22))
    assert dataset.rewards.tolist() == [1, 2, 3]
    assert dataset.terminals.tolist() == [0, 0, 1]


def test_what_the_metadata_tell_is_in_the_manifest() -> None:
    env = gymnasium.make("Hopper-v5", reset_noise_scale=0.0, terminate_when_unhealthy=False, render_mode="rgb_array")
    about = "Hops.\x1b[31m\n\nA second paragraph."
    make(ID, env=env, requirements=["mujoco==3.2.3", "gymnasium>=1.0.0"], description=about, algorithm_name="SB3/SAC")
    manifest = minari_import.read(ID).manifest
    assert manifest["origin"] == "minari"
    assert manifest["environment"] == "Hopper-v5"
    assert manifest["environment_options"] == {
        "reset_noise_scale": 0.0,
        "terminate_when_unhealthy": False,
        "legacy_contacts": True,
    }
    assert manifest["notes"] == ["evaluated with the contacts of MuJoCo up to 3.4: it requires mujoco==3.2.3"]
    assert manifest["max_episode_steps"] == 1000
    assert manifest["versions"] == {"mujoco": "3.2.3", "gymnasium": ">=1.0.0", "minari": minari.__version__}
    assert manifest["description"] == "Hops. [31m"
    assert manifest["algorithm"] == "SB3/SAC"
    made: Any = envs.make(manifest["environment"], **manifest["environment_options"]).unwrapped
    assert made._reset_noise_scale == 0.0


@pytest.mark.parametrize(
    ("env_id", "requirements", "old"),
    [
        ("Hopper-v5", ["mujoco==3.2.3"], True),
        ("Hopper-v5", ["mujoco>=3.1.0,<3.2.0", "gymnasium"], True),
        ("Hopper-v5", ["mujoco==4.0.0"], False),
        ("Hopper-v5", ["mujoco>=3.5"], False),
        ("Hopper-v5", None, False),
        ("Hopper-v5", ["what is this?", 3], False),
        ("Pendulum-v1", ["mujoco==3.2.3"], False),
        ("InvertedPendulum-v5", ["gymnasium"], False),
    ],
)
def test_where_the_steps_tell_nothing_contacts_are_those_of_the_required_mujoco(
    env_id: str, requirements: Any, old: bool
) -> None:
    data = make(ID)
    change(data, env_spec=gymnasium.spec(env_id).to_json(), requirements=requirements)
    assert minari_import.read(ID).manifest["environment_options"] == ({"legacy_contacts": True} if old else {})


@pytest.mark.parametrize("requirements", [None, ["mujoco>=3.1"], ["mujoco==3.2.3"], ["mujoco==4.0.0"]])
@pytest.mark.parametrize("old", [False, True])
def test_contacts_are_those_with_which_the_steps_were_made_whatever_it_requires(old: bool, requirements: Any) -> None:
    env = envs.make("Hopper-v5", legacy_contacts=old)
    env.action_space.seed(0)
    episodes = []
    for seed in range(10):
        observations, actions, rewards, fallen = [env.reset(seed=seed)[0]], [], [], [False]
        while not fallen[-1]:
            actions.append(env.action_space.sample())
            s, r, terminated, _, _ = env.step(actions[-1])
            observations, rewards, fallen = [*observations, s], [*rewards, r], [*fallen, terminated]
        length = len(actions)
        episodes.append(
            episode(
                length,
                observations=np.array(observations),
                actions=np.array(actions),
                rewards=np.array(rewards),
                terminations=np.array(fallen[1:]),
                infos={},
            )
        )
    env.close()
    change(make(ID, *episodes), env_spec=gymnasium.spec("Hopper-v5").to_json(), requirements=requirements)
    manifest = minari_import.read(ID).manifest
    assert manifest["environment_options"] == ({"legacy_contacts": True} if old else {})
    assert manifest["notes"] == (
        ["evaluated with the contacts of MuJoCo up to 3.4: its steps are theirs"] if old else []
    )


def test_policies_are_evaluated_where_the_dataset_says() -> None:
    data = make(ID, env="Hopper-v5", eval_env="Hopper-v4", requirements=["mujoco==4.0.0"])
    change_spec(data, max_episode_steps=300)
    manifest = minari_import.read(ID).manifest
    assert (manifest["environment"], manifest["max_episode_steps"]) == ("Hopper-v4", 300)


def test_our_own_metadata_decide_on_what_a_requirement_cannot_tell() -> None:
    rows = np.zeros((4, row_width(11, 3)), dtype=np.float32)
    rows[-1, -1] = 1
    manifest = {
        "id": "mopo/made-here/4-v0",
        "environment": "Hopper-v5",
        "environment_options": {"legacy_contacts": True, "reset_noise_scale": 0.0},
        "terminal_next_observations": False,
        "algorithm": "none",
        "description": "a test",
        "versions": {"gymnasium": "1.4.0", "mujoco": "4.0.0"},
        "references": {"scale": None},
    }
    minari_io.write(in_memory(rows, np.array([4]), 11, 3, manifest))
    read = minari_import.read("mopo/made-here/4-v0").manifest
    assert read["environment_options"] == {"legacy_contacts": True, "reset_noise_scale": 0.0}
    assert read["terminal_next_observations"] is False


def test_an_episode_that_goes_on_after_a_termination_is_divided_there() -> None:
    goes_on = np.array([False, True, False, False, True])
    make(ID, episode(3), episode(5, terminations=goes_on), episode(2, True))
    dataset = minari_import.read(ID)
    assert dataset.episode_ends.tolist() == [3, 5, 8, 10]
    assert "1 episodes go on after a termination; they are divided there" in dataset.manifest["notes"]


def test_actions_out_of_reach_are_told() -> None:
    make(ID, episode(3, actions=np.full((3, 3), 2.0)), action_space=Box(-2, 2, (3,), np.float32))
    assert "actions reach 2; the policies learnt here act within 1" in minari_import.read(ID).manifest["notes"]


# --- what is not run --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """A module that leaves a mark when it is imported, and whether it did."""
    mark = tmp_path / "imported"
    (tmp_path / "trap_of_a_stranger.py").write_text(f"open({str(mark)!r}, 'w').close()\nEnv = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield mark.exists
    importlib.import_module("trap_of_a_stranger")  # it would have been seen
    assert mark.exists()
    del sys.modules["trap_of_a_stranger"]


def test_nothing_that_a_dataset_names_is_imported(trap: Callable[[], bool]) -> None:
    data = make(ID, env="Hopper-v5")
    module = "trap_of_a_stranger:Env"
    change_spec(data, entry_point=module, vector_entry_point=module)
    assert minari_import.read(ID).manifest["environment"] == "Hopper-v5"

    change_spec(data, additional_wrappers=[{"name": "Fine", "entry_point": module, "kwargs": {}}])
    manifest = minari_import.read(ID).manifest
    assert manifest["environment"] == ""
    assert manifest["notes"] == ["its environment is Hopper-v5 within ['Fine'], which a dataset cannot bring along"]

    change_spec(data, additional_wrappers=[], id="trap_of_a_stranger:Hopper-v5")
    manifest = minari_import.read(ID).manifest
    assert manifest["environment"] == ""
    assert "'trap_of_a_stranger:Hopper-v5' is no plain id" in manifest["notes"][0]
    assert not trap()


def test_spaces_are_not_asked_of_the_environment(trap: Callable[[], bool]) -> None:
    data = make(ID, env="Hopper-v5")
    change_spec(data, entry_point="trap_of_a_stranger:Env")
    change(data, observation_space=None)
    with pytest.raises(DatasetError, match="tells no observation_space"):
        minari_import.read(ID)
    assert not trap()


def test_keywords_that_are_no_plain_numbers_are_refused_by_name() -> None:
    make(ID, env=gymnasium.make("Hopper-v5", xml_file="hopper.xml", healthy_z_range=(0.7, 2.0), frame_skip=4))
    with pytest.raises(DatasetError, match=r"Hopper-v5 has the keywords \['xml_file', 'healthy_z_range'\]"):
        minari_import.read(ID)


# --- what is refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"observation_space": DictSpace({"position": Box(-1, 1, (11,))})}, "its observation_space is 'Dict'"),
        ({"observation_space": Box(-1, 1, (11, 1))}, r"its observation_space is a Box of shape \(11, 1\)"),
        ({"action_space": Discrete(3)}, "its action_space is 'Discrete'"),
        ({"observation_space": Box(-1, 1, (12,))}, "has 11 observations and 3 actions in its file, 12 and 3 in"),
    ],
)
def test_other_spaces(settings: dict[str, Any], said: str) -> None:
    observations: Any = np.zeros((3, 11))
    if isinstance(settings.get("observation_space"), DictSpace):
        observations = {"position": observations}
    make(ID, episode(2, observations=observations), **settings)
    with pytest.raises(DatasetError, match=said):
        minari_import.read(ID)


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ({"observations": np.full((4, 11), np.nan)}, "episode_1/observations is not finite .* first in step 0"),
        ({"rewards": np.array([0, np.inf, 0])}, "episode_1/rewards is not finite .* first in step 1"),
        ({"actions": np.array([[0, 0, 0], [0, 0, 0], [0, 1e300, 0]])}, "episode_1/actions is not finite .* step 2"),
        ({"observations": np.zeros((3, 11))}, "episode_1/observations has 3 rows where 4 belong"),
        ({"actions": np.zeros((2, 3))}, "episode_1/actions has 2 rows where 3 belong"),
        ({"actions": np.zeros((3, 4))}, "episode_1 has other dimensions"),
        ({"rewards": np.zeros((3, 1))}, r"episode_1/rewards has shape \(3, 1\), not \(steps,\)"),
        ({"observations": np.zeros((4, 11, 1))}, r"episode_1/observations has shape \(4, 11, 1\)"),
        ({"terminations": np.array([0, 0, 2])}, "terminations have values other than 0 and 1"),
        ({"terminations": ["no", "no", "yes"]}, "episode_1/terminations holds no numbers"),
    ],
)
def test_episodes_that_are_not_what_they_should_be(instead: dict[str, Any], said: str) -> None:
    make(ID, episode(3), episode(3, **instead))
    with pytest.raises(DatasetError, match=said) as error:
        minari_import.read(ID)
    assert "\n" not in str(error.value)


def _cut(data: Path) -> None:
    path = data / "main_data.hdf5"
    os.truncate(path, path.stat().st_size // 2)


def _drop(name: str) -> Callable[[Path], None]:
    def drop(data: Path) -> None:
        with h5py.File(data / "main_data.hdf5", "a") as f:
            del f[name]

    return drop


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_cut, "damaged or cut short"),
        (lambda data: os.truncate(data / "main_data.hdf5", 0), "damaged or cut short"),
        (lambda data: (data / "main_data.hdf5").unlink(), "no such file"),
        (lambda data: (data / "metadata.json").unlink(), "no readable metadata.json"),
        (lambda data: (data / "metadata.json").write_text("{"), "no readable metadata.json"),
        (lambda data: (data / "metadata.json").write_text("[" * 100_000), "no readable metadata.json"),
        (lambda data: change(data, env_spec="{"), "env_spec cannot be read"),
        (lambda data: change(data, observation_space="[]"), "tells no observation_space"),
        (lambda data: change(data, action_space='{"type": "Box", "shape": [Infinity]}'), "tells no action_space"),
        (lambda data: change(data, data_format="arrow"), "is stored as 'arrow'; only hdf5 is read here"),
        (lambda data: change(data, total_steps=9), "there are 10 steps in its|more steps in it than the 9"),
        (lambda data: change(data, total_steps=11), "there are 10 steps in its 2 episodes; its metadata tell of 11"),
        (lambda data: change(data, total_steps=0), "holds no steps"),
        (lambda data: change(data, total_steps=10**15), "do not fit into memory"),
        (lambda data: change(data, total_episodes="2"), "holds no steps"),
        (_drop("episode_1"), "there is no episode_1"),
        (_drop("episode_1/actions"), "there is no episode_1/actions"),
    ],
)
def test_damage_is_one_clear_line(damage: Callable[[Path], None], said: str) -> None:
    damage(make(ID, episode(5, seed=1), episode(5, seed=2)))
    with pytest.raises(DatasetError, match=said) as error:
        minari_import.read(ID)
    assert "\n" not in str(error.value)


def test_nothing_outside_the_file_is_read(tmp_path: Path) -> None:
    """Each way in which HDF5 can lead into another file; h5py alone follows them all."""
    with h5py.File(tmp_path / "secret.hdf5", "w") as f:
        f["rewards"] = np.arange(5.0)
    (tmp_path / "secret").write_bytes(np.arange(5.0).tobytes())
    secret = str(tmp_path / "secret.hdf5")

    def virtual(group: h5py.Group) -> None:
        layout = h5py.VirtualLayout((5,), "f8")
        layout[:] = h5py.VirtualSource(secret, "rewards", (5,))
        group.create_virtual_dataset("rewards", layout)

    def external(group: h5py.Group) -> None:
        group.create_dataset("rewards", (5,), "f8", external=[(str(tmp_path / "secret"), 0, 40)])

    ways: dict[str, Callable[[h5py.Group], None]] = {
        "is a link to somewhere else": lambda group: group.__setitem__("rewards", h5py.ExternalLink(secret, "rewards")),
        "rewards is a link": lambda group: group.__setitem__("rewards", h5py.SoftLink("/episode_0/actions")),
        "rewards lies in another file": virtual,
        "lies in another file, which": external,
    }
    for i, (said, lead) in enumerate(ways.items()):
        data = make(f"people/way{i}-v0")
        with h5py.File(data / "main_data.hdf5", "a") as f:
            del f["episode_0/rewards"]
            lead(f["episode_0"])
            assert len(f["episode_0/rewards"]) == 5
        with pytest.raises(DatasetError, match=said):
            minari_import.read(f"people/way{i}-v0")

    data = make("people/group-v0")
    with h5py.File(data / "main_data.hdf5", "a") as f:
        del f["episode_0"]
        f["episode_0"] = h5py.ExternalLink(str(data / "main_data.hdf5"), "episode_1")
    with pytest.raises(DatasetError, match="episode_0 is a link"):
        minari_import.read("people/group-v0")


@pytest.mark.parametrize("dataset_id", ["people/hopper-v1", "people/hopper", "../minari/people/hopper-v0", "/etc-v0"])
def test_an_id_that_is_not_there(dataset_id: str) -> None:
    make(ID)
    with pytest.raises(DatasetError, match=r"there is no Minari dataset .*people/hopper-v0"):
        minari_import.read(dataset_id)
    assert not minari_import.is_local(dataset_id)
    assert minari_import.is_local(ID)


def test_reading_stops_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minari_io, "EPISODES_PER_POLL", 2)
    make(ID, *[episode(1, seed=i) for i in range(6)])
    asked = 0

    def poll() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Stopped(143, "stopped on request")

    with pytest.raises(Stopped):
        minari_import.read(ID, poll)
