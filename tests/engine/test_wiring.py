"""What a configuration says reaches what does it: batches, rollouts, penalty, alerts, step sizes, both stages."""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_process import new_run, small
from torch import Tensor

from engine.agents.networks import Networks, layers
from engine.algorithms import alerts, gate
from engine.algorithms.alerts import Watch
from engine.algorithms.batches import Batches, ModelBatches, RealBatches, real_rows
from engine.algorithms.model_free import make_awac, make_sac
from engine.algorithms.online_sac import snapshot
from engine.algorithms.policy_stage import improve_policy
from engine.algorithms.training import Training
from engine.compute import Compute
from engine.config import Rollout, Sac, TrainConfig
from engine.control import StopRequests
from engine.data.dataset import TransitionDataset, in_memory
from engine.dynamics.calibration import calibrate
from engine.dynamics.ensemble import Ensemble, Model, Normaliser
from engine.dynamics.rollouts import Roller
from engine.evaluation import Episodes, Recorded
from engine.plan import planned_work
from engine.progress import Progress
from engine.record import EVENTS, METRICS, Recorder, read_json, read_rows
from engine.tasks import task

# The package's names of these two modules are those of the recipes in them.
mopo, mb2po = (importlib.import_module(f"engine.algorithms.{name}") for name in ("mopo", "mb2po"))
ROWS, EPISODE = 400, 40
# A cheetah never falls, so a rollout has all its steps; a hopper soon does, so an evaluation is short.
CHEETAH, HOPPER = "halfcheetah-medium-replay", "hopper-medium-replay"
WORLDS = {CHEETAH: "HalfCheetah-v5", HOPPER: "Hopper-v5"}


@pytest.fixture(autouse=True)
def compute() -> Compute:
    return Compute.choose(threads=1, gemm="stock", compiled=False)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data_of(name: str) -> TransitionDataset:
    """Random transitions of the task's sizes, no two of them alike; the greatest reward is 2."""
    rng, about = np.random.default_rng(5), task(name)
    o, a = about.observation_dim, about.action_dim
    rows = np.zeros((ROWS, 2 * o + a + 2), dtype=np.float32)
    rows[:, :o] = rng.normal(0, 0.3, (ROWS, o))
    rows[:, o : o + a] = rng.uniform(-1, 1, (ROWS, a))
    rows[:, o + a] = rng.uniform(-1, 1, ROWS)
    rows[7, o + a] = 2.0
    rows[:, o + a + 1 : -1] = rows[:, :o] + rng.normal(0, 0.1, (ROWS, o))
    manifest = {"id": "test/rows-v0", "environment": WORLDS[name], "references": {}, "report": {}}
    return in_memory(rows, np.arange(EPISODE, ROWS + 1, EPISODE), o, a, manifest)


class NeverStops(StopRequests):
    """Nobody asks a run in the tests' own process to stop, and its signals are pytest's."""

    def __init__(self) -> None:
        pass

    def __call__(self) -> None:
        pass

    def after(self, update: int) -> None:
        del update


Trainings = Callable[..., Training]


@pytest.fixture
def training(tmp_path: Path, compute: Compute) -> Iterator[Trainings]:
    """Makes a training in this process, of real parts, on a small dataset: training(task, **configuration)."""
    made: list[Training] = []

    def make(name: str = CHEETAH, **more: Any) -> Training:
        config: TrainConfig = small(**{"task": name, "compute.reuse": False, **more})
        folder = new_run(tmp_path, tmp_path / f"run{len(made)}", config)
        recorder = Recorder(folder, echo=lambda _: None)
        progress = Progress(recorder, planned_work(config, build_data=False))
        t = Training(
            config,
            task(name),
            data_of(name),
            recorder,
            progress,
            compute,
            NeverStops(),
            folder,
            tmp_path / "data",
            config.policy.epochs,
        )
        made.append(t)
        return t

    yield make
    for t in made:
        t.evaluator.close()


def model_of(t: Training, seed: int = 1) -> Model:
    """An ensemble that nobody fitted: its members differ in what they expect and in how sure they are."""
    o, a, settings = t.task.observation_dim, t.task.action_dim, t.config.dynamics
    ensemble = Ensemble(o, a, settings)
    flat = ensemble.initial_parameters(seeded(seed))
    for head, spread in (("mean", 0.2), ("log_variance", 0.5)):
        bias = ensemble.layout.views(flat)[f"{head}/bias"]
        bias.copy_(spread * torch.randn(bias.shape, generator=seeded(seed + 1)))
    normaliser = Normaliser(torch.zeros(o + a), torch.ones(o + a))
    return Model(ensemble, flat, normaliser, tuple(range(settings.members))[-settings.elites :])


def networks_of(t: Training) -> Networks:
    return Networks(t.task.observation_dim, t.task.action_dim, t.config.sac)


def constant_actor(networks: Networks, pre_tanh: float) -> Tensor:
    """A policy that does tanh(`pre_tanh`) everywhere, and hardly anything else."""
    actor = torch.zeros(networks.actor.size)
    bias = layers(networks.actor, actor)[-1][1]
    mean, log_std = bias.chunk(2)
    mean.fill_(pre_tanh)
    log_std.fill_(-20.0)
    return actor


def rolled(t: Training, roller: Roller, seed: int = 3, **more: Any) -> Tensor:
    """The transitions of one round from random states of the data, 200 × h unless `more` says otherwise."""
    settings = dataclasses.replace(
        t.config.rollout, **{"starts": 200, "retain_rounds": 1, "real_fraction": 0.0, **more}
    )
    networks = networks_of(t)
    batches = ModelBatches(t.rows, t.task.observation_dim, roller, settings, 256)
    actor = 0.2 * torch.randn(networks.actor.size, generator=seeded(9))
    n = batches.begin(1, actor, seeded(seed), t.stop).transitions
    # Every transition once, in the order in which it was made: draws are the middles of n equal parts of [0, 1).
    return batches._buffer.gather(batches._buffer.indices((torch.arange(n) + 0.5) / n))


def parts(t: Training, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """s, a, r and s' of packed rows."""
    o, a = t.task.observation_dim, t.task.action_dim
    return rows[:, :o], rows[:, o : o + a], rows[:, o + a], rows[:, o + a + 1 : -1]


def of_the_data(t: Training, rows: Tensor) -> list[bool]:
    """Which rows are rows of the dataset, to the last bit."""
    known = {row.tobytes() for row in t.rows.numpy()}
    return [row.tobytes() in known for row in rows.numpy()]


@dataclasses.dataclass
class Improved:
    """What one call of `improve_policy` was given."""

    agent: Any
    batches: Batches
    roller: Roller | None
    before: dict[str, Tensor]
    after: dict[str, Tensor]


@pytest.fixture
def improved(monkeypatch: pytest.MonkeyPatch) -> list[Improved]:
    """The recipes' calls of `improve_policy`, which does nothing, nor does the final evaluation."""
    calls: list[Improved] = []

    def nothing(t: Training, agent: Any, batches: Batches, roller: Roller | None, *_: Any, **__: Any) -> Any:
        del t
        state = {name: tensor.clone() for name, tensor in agent.state().items()}
        calls.append(Improved(agent, batches, roller, state, state))
        return snapshot(agent)

    for module in (mopo, mb2po):
        monkeypatch.setattr(module, "improve_policy", nothing)
        monkeypatch.setattr(module, "final_evaluation", lambda *_, **__: None)
    return calls


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fraction", "size", "real"), [(0.05, 256, 12), (0.05, 100, 5), (0.5, 7, 3), (0.0, 256, 0), (1.0, 64, 64)]
)
def test_the_real_rows_of_a_batch_are_rounded_down(fraction: float, size: int, real: int) -> None:
    assert real_rows(Rollout(real_fraction=fraction), size) == real


@pytest.mark.parametrize(("fraction", "size", "real"), [(0.05, 256, 12), (0.5, 64, 32), (0.0, 32, 0), (1.0, 32, 32)])
def test_a_run_in_the_model_learns_from_exactly_the_share_of_real_rows_that_it_promises(
    training: Trainings, improved: list[Improved], fraction: float, size: int, real: int
) -> None:
    t = training(**{"rollout.real_fraction": fraction, "sac.batch_size": size, "rollout.starts": 100})
    mopo.mopo(t)
    (call,) = improved
    call.batches.begin(1, call.agent.actor, seeded(), t.stop)
    call.batches.draw(20, seeded(1))
    for i in range(20):
        batch = call.batches.batch(i)
        assert batch.shape == (size, t.rows.shape[1])
        # The first ones: the Bellman penalty spares as many.
        assert of_the_data(t, batch) == [True] * real + [False] * (size - real)


def test_the_real_rows_and_those_of_an_agent_without_a_model_are_drawn_from_the_whole_dataset(
    training: Trainings,
) -> None:
    t = training()
    roller = mopo.make_roller(t, model_of(t), networks_of(t), 1.0)
    settings = dataclasses.replace(t.config.rollout, real_fraction=0.5, starts=50)
    for batches in (
        ModelBatches(t.rows, t.task.observation_dim, roller, settings, 128),
        RealBatches(t.rows, 64),
    ):
        batches.begin(1, constant_actor(networks_of(t), 0.0), seeded(), t.stop)
        batches.draw(150, seeded(1))
        drawn = torch.cat([batches.batch(i)[:64] for i in range(150)])
        assert all(of_the_data(t, drawn))
        assert len(drawn.unique(dim=0)) == ROWS


def test_the_model_rows_of_a_batch_are_of_all_retained_rounds_alike_and_of_no_older_one(training: Trainings) -> None:
    """Each round's policy has an action of its own, by which its rows are known."""
    t, retain, rounds = training(), 3, 7
    networks = networks_of(t)
    roller = mopo.make_roller(t, model_of(t), networks, 1.0)
    settings = dataclasses.replace(t.config.rollout, retain_rounds=retain, starts=300, length=2, real_fraction=0.05)
    batches = ModelBatches(t.rows, t.task.observation_dim, roller, settings, 256)
    for epoch in range(1, rounds + 1):
        batches.begin(epoch, constant_actor(networks, 0.1 * epoch), seeded(epoch), t.stop)
        batches.draw(40, seeded(100 + epoch))
        rows = torch.cat([batches.batch(i)[12:] for i in range(40)])
        action = parts(t, rows)[1][:, 0]
        of = (torch.atanh(action) / 0.1).round().int().tolist()
        there = range(max(1, epoch - retain + 1), epoch + 1)
        assert set(of) == set(there)
        shares = [of.count(other) / len(of) for other in there]
        assert shares == pytest.approx([1 / len(there)] * len(there), abs=0.03)


@pytest.mark.parametrize("transitions", [0, 8000])
def test_rollouts_start_in_every_row_of_the_dataset(training: Trainings, transitions: int) -> None:
    """With 20 rollouts for each state none is missed: the chance of it is one in a million."""
    t = training()
    roller = mopo.make_roller(t, model_of(t), networks_of(t), 1.0)
    rows = rolled(t, roller, starts=8000, length=1, transitions=transitions)
    states = {state.tobytes() for state in t.rows[:, : t.task.observation_dim].numpy()}
    assert len(states) == ROWS
    assert {state.tobytes() for state in parts(t, rows)[0].contiguous().numpy()} == states


# --- rollouts as the configuration has them ---------------------------------------------------------------------------


def u_by_name(name: str, mean: Tensor, log_variance: Tensor) -> np.ndarray:
    """The three kinds of u, from their definitions."""
    mu, sigma = mean.double().numpy(), np.sqrt(np.exp(log_variance.double().numpy()))
    if name == "max_aleatoric":
        return np.sqrt((sigma**2).sum(-1)).max(0)
    if name == "max_disagreement":
        return np.sqrt(((mu - mu.mean(0))[..., 1:] ** 2).sum(-1)).max(0)
    mixture = (sigma**2 + mu**2).mean(0) - mu.mean(0) ** 2
    return np.sqrt(mixture.sum(-1))


@pytest.mark.parametrize("coefficient", [0.0, 2.5])
@pytest.mark.parametrize("name", ["max_aleatoric", "max_disagreement", "ensemble_std"])
def test_rollouts_pay_r_less_lambda_times_the_u_that_the_configuration_names(
    training: Trainings, name: str, coefficient: float
) -> None:
    t = training(**{"rollout.uncertainty": name})
    model, networks = model_of(t), networks_of(t)
    free = rolled(t, mopo.make_roller(t, model, networks, 0.0))
    rows = rolled(t, mopo.make_roller(t, model, networks, coefficient))
    assert len(rows) == 200 * 5
    s, a, penalised, _ = parts(t, rows)
    u = u_by_name(name, *model.predict(s, a))
    assert u.min() > 0.01
    np.testing.assert_allclose(penalised.numpy(), parts(t, free)[2].numpy() - coefficient * u, atol=1e-4)
    # The penalty is all that λ changes.
    torch.testing.assert_close(parts(t, rows)[3], parts(t, free)[3])


@pytest.mark.parametrize(
    ("recipe", "settings", "in_rollouts", "off_targets"),
    [
        (mopo.mopo, {"rollout.coefficient": 2.5}, 2.5, None),
        (mopo.mopo, {"rollout.coefficient": 2.5, "rollout.penalty": "bellman"}, 0.0, 2.5),
        (mopo.mbpo, {"rollout.coefficient": 2.5}, 0.0, None),
        (mopo.mbpo, {"rollout.coefficient": 2.5, "rollout.penalty": "bellman"}, 0.0, None),
    ],
)
def test_the_penalty_comes_off_once_and_where_the_configuration_has_it(
    training: Trainings,
    improved: list[Improved],
    recipe: Callable[[Training], None],
    settings: dict[str, Any],
    in_rollouts: float,
    off_targets: float | None,
) -> None:
    t = training(**settings)
    recipe(t)
    (call,) = improved
    assert call.roller is not None
    assert call.roller.coefficient == in_rollouts
    penalty = call.agent.penalty
    assert (None if penalty is None else penalty.coefficient) == off_targets


@pytest.mark.parametrize(("penalty", "off_the_reward"), [("reward", 2.5), ("bellman", 0.0)])
def test_a_policy_is_judged_with_the_penalty_of_its_training_and_without_a_limit_on_u(
    training: Trainings, penalty: str, off_the_reward: float
) -> None:
    t = training(**{"rollout.penalty": penalty, "rollout.cut_quantile": 0.5})
    model, networks = model_of(t), networks_of(t)
    learning = mopo.make_roller(t, model, networks, 2.5)
    judging = mopo.make_roller(t, model, networks, 2.5, for_training=False)
    assert (learning.coefficient, judging.coefficient) == (off_the_reward, off_the_reward)
    assert learning.limit < math.inf
    assert judging.limit == math.inf


def test_mb2pos_gate_takes_the_bellman_penalty_off_the_model_returns_of_both_policies_and_says_so(
    training: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There λ counts in Q's units: λu off the reward would be another quantity."""
    told: list[tuple[Any, ...]] = []
    weigh = gate.model_returns

    def noted(roller: Roller, *more: Any) -> Any:
        told.append((roller.coefficient, more[-1]))
        return weigh(roller, *more)

    monkeypatch.setattr(gate, "model_returns", noted)
    bellman = {"rollout.penalty": "bellman", "rollout.penalty_samples": 2, "rollout.coefficient": 1.5}
    small_gate = {"mb2po.fitted_q_updates": 20, "evaluation.calibration_starts": 10, "evaluation.calibration_steps": 5}
    t = training(HOPPER, algorithm="mb2po", **bellman, **small_gate)
    first, model = make_awac(t), model_of(t)
    roller = mopo.make_roller(t, model, first.networks, 1.5, for_training=False)
    t.progress.begin("finetune", "both policies")
    decisions = {}
    for penalty in (mopo.bellman_penalty(t, model, 1.5, 256), None):
        decisions[penalty is not None] = mb2po.recommend(t, first.actor, make_awac(t, penalty), roller)
    assert [coefficient for coefficient, _ in told] == [0.0] * 4
    assert [off is not None for _, off in told] == [True, True, False, False]
    less, plain = decisions[True], decisions[False]
    for stage in ("bound_1", "bound_2"):
        assert less.evidence[stage] < plain.evidence[stage]
    same = {"u_2", "fitted_q_1", "fitted_q_2", "dropped_1", "dropped_2"}
    assert {name: less.evidence[name] for name in same} == {name: plain.evidence[name] for name in same}
    for decision, words in ((less, "model return less the Bellman penalty"), (plain, "penalised model return")):
        assert decision.evidence["u_2"] > 1 or words in decision.why


def test_clipped_rollouts_stay_in_the_range_of_the_data_and_others_leave_it(training: Trainings) -> None:
    seen = {}
    for clip in (False, True):
        t = training(**{"rollout.clip": clip})
        rows = rolled(t, mopo.make_roller(t, model_of(t), networks_of(t), 0.0))
        inside = []
        for made, known in zip(parts(t, rows)[2:], parts(t, t.rows)[2:], strict=True):
            within = (made >= known.amin(0)) & (made <= known.amax(0))
            inside.append(float(within.float().mean()))
        seen[clip] = inside
    assert seen[True] == [1.0, 1.0]
    assert max(seen[False]) < 0.9


def test_the_clip_comes_before_the_penalty(training: Trainings) -> None:
    t = training(**{"rollout.clip": True})
    rows = rolled(t, mopo.make_roller(t, model_of(t), networks_of(t), 10.0))
    assert float(parts(t, rows)[2].max()) < float(parts(t, t.rows)[2].min())


def test_rollouts_grow_from_their_initial_length_by_epochs(training: Trainings, improved: list[Improved]) -> None:
    growing = {"rollout.initial_length": 1, "rollout.growth_epochs": 4, "rollout.length": 5, "rollout.starts": 100}
    t = training(**growing)
    mopo.mopo(t)
    batches, agent = improved[0].batches, improved[0].agent
    made = [getattr(batches.begin(e, agent.actor, seeded(e), t.stop), "transitions", None) for e in range(1, 8)]
    assert made == [100, 200, 300, 400, 500, 500, 500]


# --- the Bellman penalty ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["mopo", "mb2po"])
def test_the_bellman_penalty_spares_the_real_rows_of_a_batch_and_no_other(
    training: Trainings, improved: list[Improved], algorithm: str
) -> None:
    settings = {"rollout.penalty": "bellman", "rollout.penalty_samples": 2, "rollout.real_fraction": 0.25}
    sizes = {"sac.batch_size": 64, "awac.batch_size": 48}
    t = training(**{"algorithm": algorithm, "rollout.starts": 100, "rollout.transitions": 0, **settings, **sizes})
    if algorithm == "mopo":
        mopo.mopo(t)
        size, real = 64, 16
    else:
        mb2po.fine_tuned(t, make_awac(t), model_of(t))
        size, real = 48, 12
    (call,) = improved
    call.batches.begin(1, call.agent.actor, seeded(), t.stop)
    call.batches.draw(1, seeded(1))
    batch = call.batches.batch(0)
    assert of_the_data(t, batch) == [True] * real + [False] * (size - real)
    s, a, _, _ = parts(t, batch)
    draws = call.agent.noise(size, seeded(2))
    agent = call.agent
    off = agent.penalty(agent.networks, agent.actor, agent.target_critic, s, a, draws[1:])
    assert off[:real].tolist() == [0.0] * real
    assert float(off[real:].min()) > 0


# --- alerts -----------------------------------------------------------------------------------------------------------


class Noted(Watch):
    """A watch that also notes what it was told."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.told: dict[str, list[tuple[Any, ...]]] = {}

    def member_losses(self, *told: Any) -> None:
        self.told.setdefault("member_losses", []).append(told)
        super().member_losses(*told)

    def score(self, *told: Any) -> None:
        self.told.setdefault("score", []).append(told)
        super().score(*told)

    def epoch(self, *told: Any) -> None:
        self.told.setdefault("epoch", []).append(told)
        super().epoch(*told)


def test_a_run_watches_its_fit_each_epoch_and_each_evaluation_and_says_what_is_wrong(
    training: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With thresholds that anything exceeds, every alert there is must come of a run."""
    for threshold, value in {
        "MEMBER_RATIO": 0.0,
        "Q_RATIO": 0.0,
        "UNCERTAINTY_RATIO": 0.0,
        "FLAT_LEAST": 0,
        "FLAT_SHARE": 0.0,
        "FREE_BYTES": math.inf,
    }.items():
        monkeypatch.setattr(alerts, threshold, value)
    budget = {"policy.epochs": 3, "policy.updates_per_epoch": 2, "rollout.starts": 50, "evaluation.calibration": False}
    t = training(HOPPER, **{**budget, "sac.discount": 0.9, "dynamics.max_epochs": 2})
    t.watch = watch = Noted(t.recorder)
    mopo.mopo(t)
    events, rows = read_rows(t.folder / EVENTS)[0], read_rows(t.folder / METRICS)[0]
    causes = {event["cause"] for event in events if event["kind"] == "alert"}
    assert causes == {*(f"member {i}" for i in range(7)), "q", "uncertainty", "flat", "disk"}
    assert [event["stage"] for event in events if event.get("cause") == "disk"] == ["dynamics"]  # not only later

    def recorded(name: str) -> list[float]:
        return [row["m"][name] for row in rows if name in row["m"]]

    losses = [list(map(float, losses)) for _, losses in watch.told["member_losses"]]
    assert [epoch for epoch, _ in watch.told["member_losses"]] == [1, 2]
    assert losses == [
        pytest.approx(each) for each in zip(*(recorded(f"dynamics/val_loss/{i}") for i in range(7)), strict=True)
    ]
    assert [told[0] for told in watch.told["epoch"]] == [1, 2, 3]
    assert [told[1]["policy/q"] for told in watch.told["epoch"]] == pytest.approx(recorded("policy/q"))
    # The data's greatest reward, the agent's own discount, and u on the data.
    (p95,) = recorded("uncertainty/data_p95")
    assert {told[2:4] for told in watch.told["epoch"]} == {(2.0, 0.9)}
    assert [told[4] for told in watch.told["epoch"]] == pytest.approx([p95] * 3)
    returns = recorded("eval/return")[:3]  # the last row is the final policy's
    assert [list(told[0]) for told in watch.told["score"]] == [pytest.approx(returns[: n + 1]) for n in range(3)]
    assert {told[1] for told in watch.told["score"]} == {3}


# --- the step size ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_the_actors_step_size_follows_its_schedule_over_the_epochs_and_the_critics_stays(
    training: Trainings, monkeypatch: pytest.MonkeyPatch, schedule: str
) -> None:
    budget = {"policy.epochs": 4, "policy.updates_per_epoch": 2, "evaluation.every": 4}
    t = training(HOPPER, **{**budget, "sac.actor_schedule": schedule, "sac.actor_lr": 1e-2, "sac.critic_lr": 2e-3})
    agent = make_sac(t)
    seen: list[tuple[float, float]] = []
    update = agent.update

    def noted(rows: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
        """What Adam moves each weight by: its rate times at most about 1, the first time just that."""
        actor, critic, first = agent.actor.clone(), agent.critic.clone(), agent.updates == 0
        values = update(rows, noise)
        moved = [float((now - was).abs().max()) for now, was in ((agent.actor, actor), (agent.critic, critic))]
        if first:
            assert moved == pytest.approx([1e-2, 2e-3], rel=1e-3)
        seen.append((float(agent._rates[0]), float(agent._rates[len(actor)])))
        return values

    monkeypatch.setattr(agent, "update", noted)
    improve_policy(t, agent, RealBatches(t.rows, 32), None, "SAC on the batch")
    share = {"constant": [1.0] * 4, "cosine": [1.0, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4]}[schedule]
    assert [actor for actor, _ in seen] == pytest.approx([1e-2 * one for one in share for _ in range(2)])
    assert [critic for _, critic in seen] == pytest.approx([2e-3] * 8)


# --- MB2PO ------------------------------------------------------------------------------------------------------------


def test_mb2pos_second_stage_goes_on_with_policy_and_q_of_the_first_in_the_penalised_model(
    training: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Improved] = []
    improve = improve_policy

    def noted(t: Training, agent: Any, batches: Batches, roller: Roller | None, *args: Any, **named: Any) -> Any:
        def state() -> dict[str, Tensor]:
            return {name: tensor.clone() for name, tensor in agent.state().items()}

        before = state()
        policy = improve(t, agent, batches, roller, *args, **named)
        calls.append(Improved(agent, batches, roller, before, state()))
        return policy

    monkeypatch.setattr(mb2po, "improve_policy", noted)
    budget = {
        "mb2po.stage1_epochs": 2,
        "policy.epochs": 2,
        "policy.updates_per_epoch": 5,
        "evaluation.calibration": False,
    }
    rollout = {"rollout.coefficient": 1.5, "rollout.transitions": 300, "rollout.length": 2}
    t = training(HOPPER, algorithm="mb2po", **{**budget, **rollout, "mb2po.enter": "always"})
    mb2po.mb2po(t)
    first, second = calls
    assert set(second.before) == {"parameters", "target_critic", "m", "v", "updates"}
    for name, tensor in first.after.items():  # policy, critics, their targets, and Adam's moments
        assert torch.equal(second.before[name], tensor), name
    assert not torch.equal(first.before["parameters"], first.after["parameters"])
    assert not torch.equal(second.before["parameters"], second.after["parameters"])
    assert second.agent is not first.agent  # the first stage's is judged beside it at the end
    assert torch.equal(first.agent.state()["parameters"], first.after["parameters"])
    assert (first.roller, type(first.batches), type(second.batches)) == (None, RealBatches, ModelBatches)
    assert second.roller is not None
    assert second.roller.coefficient == 1.5
    rounds = [row["m"] for row in read_rows(t.folder / METRICS)[0] if "rollout/penalty" in row["m"]]
    assert len(rounds) == 2
    for row in rounds:
        assert row["rollout/penalty"] == pytest.approx(1.5 * row["uncertainty/mean"])
        assert row["rollout/penalty"] > 0


@pytest.mark.parametrize(
    ("every", "stage1_epochs", "epochs", "counted"),
    [(1, 2, 3, [1, 2, 1, 2, 3]), (2, 3, 5, [1, 1, 2]), (4, 2, 3, [1, 1])],
)
def test_the_evaluations_of_mb2pos_stages_are_told_apart(
    training: Trainings, every: int, stage1_epochs: int, epochs: int, counted: list[int]
) -> None:
    """`counted`: of the present stage so far, at each evaluation. The run's last ten are of the recommended policy's stage."""
    budget = {"policy.epochs": epochs, "policy.updates_per_epoch": 2, "rollout.transitions": 100, "rollout.length": 2}
    budget |= {"evaluation.every": every, "evaluation.calibration": False, "mb2po.stage1_epochs": stage1_epochs}
    t = training(HOPPER, algorithm="mb2po", **budget, **{"mb2po.enter": "always"})
    t.watch = watch = Noted(t.recorder)
    mb2po.mb2po(t)
    assert [len(told[0]) for told in watch.told["score"]] == counted
    result = read_json(t.folder / "result.json")
    assert result is not None
    of_stage = {"stage1": max(1, stage1_epochs // every), "stage2": max(1, epochs // every)}
    assert sum(of_stage.values()) == len(counted)
    assert result["mean_last_10"]["evaluations"] == of_stage[result["recommended"]]


# --- calibration ------------------------------------------------------------------------------------------------------


def test_one_dropped_rollout_of_a_hundred_is_judged_and_two_are_not(compute: Compute) -> None:
    """In a model in which nothing moves and each step pays 1. One start state of a hundred lies beyond every range, and
    how often it is drawn the seed decides."""
    settings = small().dynamics
    o, a = 4, 2
    ensemble = Ensemble(o, a, settings)
    flat = torch.zeros(ensemble.layout.size)
    views = ensemble.layout.views(flat)
    views["mean/bias"][:, 0, 0] = 1.0
    views["max_log_variance"].fill_(-30.0)
    views["min_log_variance"].fill_(-40.0)
    model = Model(ensemble, flat, Normaliser(torch.zeros(o + a), torch.ones(o + a)), (0, 1, 2, 3, 4))
    networks = Networks(o, a, Sac(hidden=(8,)))
    roller = Roller(networks, model, "never", "max_aleatoric", 1.0, compute)
    rows = np.zeros((100, 2 * o + a + 2), dtype=np.float32)
    rows[3, 0] = 1000.0
    dataset = in_memory(rows, np.arange(1, 101), o, a, {})
    real = Episodes(
        *np.zeros((4, 1)),
        recorded=(Recorded(np.zeros((6, o), np.float32), np.zeros((5, a), np.float32), np.full(5, 2.0), False),),
    )
    judged: dict[int, bool] = {}
    for seed in range(40):
        found = calibrate(
            roller, torch.zeros(networks.actor.size), dataset, real, 100, 5, 0.9, seeded(seed), lambda: None
        )
        dropped = round(100 * found["calibration/dropped_fraction"])
        assert ("calibration/margin" in found) is ("calibration/lower_bound" in found)
        judged[dropped] = "calibration/lower_bound" in found
        if judged[dropped]:
            assert found["calibration/lower_bound"] == 1.0  # 1 a step is promised, 2 are earned
    assert {0, 1, 2} <= set(judged)
    assert judged == {dropped: dropped <= 1 for dropped in judged}
