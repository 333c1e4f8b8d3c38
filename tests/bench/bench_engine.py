"""How fast the engine computes, by its parts, and beside each part a textbook's loop (`textbook.py`) in the same process, in turns.

    python tests/bench/bench_engine.py [--threads 1 2] [--shapes halfcheetah ant] [--rounds 3]

Each time is the least of several rounds. "of the limit" is the least work that the part needs, in multiplications and additions of
its matrix products, over what this machine's fp32 products reach at a size that suits them. Another program on the same cores
makes every figure worse, those of the textbook, too.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable

ROWS, STARTS, LENGTH, UPDATES, BATCH = 1_000_000, 50_000, 5, 1000, 256
SHAPES = {"halfcheetah": (17, 6, "HalfCheetah-v5", "never"), "ant": (27, 8, "mopo/AntAngle-v0", "ant")}


def seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def dense(sizes: tuple[int, ...]) -> int:
    """Multiplications and additions of a row's way forward through a network."""
    return sum(2 * a * b for a, b in itertools.pairwise(sizes))


def prepared(threads: int, shape: str, count: int, starts: int = STARTS, mb2po: bool = False):  # type: ignore[no-untyped-def]
    """What MOPO's policy stage (or MB2PO's second) works on, the fit left out: compute, generator, `count` rows, agent,
    batches."""
    import torch

    import engine.envs  # registers the environments
    from engine.agents.awac import AWAC
    from engine.agents.sac import SAC
    from engine.algorithms.batches import ModelBatches
    from engine.compute import Compute
    from engine.config import Awac, Dynamics, Rollout, Sac
    from engine.dynamics.ensemble import Ensemble, Model, Normaliser
    from engine.dynamics.rollouts import Roller

    del engine
    obs, act, _, termination = SHAPES[shape]
    compute = Compute.choose("cpu", threads)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(count, 2 * obs + act + 2, generator=generator)
    rows[:, obs : obs + act].clamp_(-1, 1)
    rows[:, -1] = 0
    if termination == "ant":
        rows[:, 0] = 0.6  # upright
    agent = AWAC(obs, act, Awac(), compute, generator) if mb2po else SAC(obs, act, Sac(), compute, generator)
    # A state of the data never ends up outside the guards: the untrained model is asked for small changes.
    ensemble = Ensemble(obs, act, Dynamics(members=5) if mb2po else Dynamics())
    parameters = ensemble.initial_parameters(generator)
    ensemble.layout.views(parameters)["log_variance/bias"].fill_(-8.0)
    unit = Normaliser(torch.zeros(obs + act), torch.ones(obs + act))
    model = Model(ensemble, parameters, unit, (0, 1, 2, 3, 4))
    roller = Roller(agent.networks, model, termination, "max_aleatoric", 1.0, compute)
    rollout = Rollout(coefficient=1.0, starts=starts, length=LENGTH)
    return compute, generator, rows, agent, ModelBatches(rows, obs, roller, rollout, BATCH)


def work(shape: str, begin: float, seconds: float) -> None:
    """Epochs of a rollout and its updates, a tenth as large each, at one thread from the moment `begin` on; prints their rate."""
    import torch

    _, generator, _, agent, batches = prepared(1, shape, 100_000, STARTS // 10)
    done, end = 0, float("inf")
    while time.time() < end:
        with torch.no_grad():
            batches.begin(1, agent.actor, generator, lambda: None)
        batches.draw(UPDATES // 10, generator)
        for i in range(UPDATES // 10):
            batch = batches.batch(i)
            agent.update(batch, agent.noise(len(batch), generator))
        if end == float("inf"):  # the first one compiles
            assert time.time() < begin, "compiling took longer than was given to it"
            time.sleep(begin - time.time())
            end = begin + seconds
        else:
            done += 1
    print(done / (time.time() - begin))


def side_by_side(shape: str, seconds: float) -> None:
    """Throughput of two runs of one thread each over that of one."""

    def rate(count: int) -> float:
        begin = str(time.time() + 60.0)
        command = [sys.executable, __file__, "--work", begin, str(seconds), "--shapes", shape]
        workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        return sum(float(worker.communicate()[0]) for worker in workers)

    one, two = rate(1), rate(2)
    print(f"\n{shape}: two runs of one thread each do {two / one:.2f} times the epochs of one")


def measure(threads: int, shape: str, rounds: int) -> None:
    import gymnasium
    import numpy as np
    import textbook
    import torch

    from engine.algorithms.online_sac import snapshot
    from engine.config import Dynamics
    from engine.data.episodes import pack
    from engine.dynamics.training import DynamicsEpoch, fit
    from engine.evaluation import deterministic, run_episodes

    obs, act, env_id, termination = SHAPES[shape]
    compute, generator, rows, agent, batches = prepared(threads, shape, ROWS)
    print(f"\n{shape}, {threads} thread{'s' if threads > 1 else ''}: {compute.gemm} products, "
          f"{'compiled' if compute.compiled else 'not compiled'}, torch {torch.__version__}")  # fmt: skip

    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    products = [lambda: a @ b]
    if compute.gemm == "onednn":
        products.append(lambda: torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], ""))
    limit = 2 * 1024**3 / min(seconds(product) for product in products for _ in range(30))
    print(f"{'fp32 product of 1024 x 1024 matrices':<44}{limit / 1e9:9.0f} GFLOP/s: the limit")

    def report(what: str, ours: float, theirs: float | None, count: float, unit: str, flops: float = 0.0) -> None:
        each = ours / count
        share = f"{100 * flops / limit / ours:5.0f} %" if flops else ""
        ratio = f"{theirs / ours:6.2f}x" if theirs is not None else ""
        rate = f"{count / ours:,.0f} {unit}/s"
        print(f"{what:<44}{1e3 * each:12.4g} ms{rate:>28}{share:>9}{ratio:>9}", flush=True)

    def in_turns(ours: Callable[[], object], theirs: Callable[[], object], times: int = rounds) -> tuple[float, float]:
        ours(), theirs()  # what the first call prepares does not count
        found = [(seconds(ours), seconds(theirs)) for _ in range(times)]
        return min(f[0] for f in found), min(f[1] for f in found)

    print(f"{'':<44}{'time':>15}{'rate':>28}{'limit':>9}{'textbook':>9}")
    theirs_sac = textbook.TextbookSAC(obs, act)
    theirs_model = textbook.TextbookEnsemble(obs, act)
    theirs_rows = textbook.Buffer(ROWS, obs, act)
    parts = {"s": rows[:, :obs], "a": rows[:, obs : obs + act], "r": rows[:, obs + act : obs + act + 1]}
    parts |= {"s_next": rows[:, obs + act + 1 : -1], "done": rows[:, -1:]}
    theirs_rows.add(**{name: part.numpy() for name, part in parts.items()})
    theirs_buffer = textbook.Buffer(5 * STARTS * LENGTH, obs, act)

    # --- one rollout round and one SAC update, with all that belongs to them ---
    def our_rollout() -> None:
        with torch.no_grad():
            batches.begin(1, agent.actor, generator, lambda: None)

    def their_rollout() -> None:
        index = np.random.randint(ROWS, size=STARTS)
        s = theirs_rows.parts["s"][index]
        for _ in range(LENGTH):
            action, reward, s_next = theirs_model.rollout_step(theirs_sac, s, 1.0)
            done = np.zeros((len(s), 1), dtype=np.float32)
            theirs_buffer.add(s=s, a=action, r=reward, s_next=s_next, done=done)
            s = s_next

    def our_updates(n: int) -> None:
        batches.draw(n, generator)
        for i in range(n):
            batch = batches.batch(i)
            agent.update(batch, agent.noise(len(batch), generator))

    def their_updates(n: int) -> None:
        real = int(0.05 * BATCH)
        for _ in range(n):
            one, two = theirs_rows.sample(real), theirs_buffer.sample(BATCH - real)
            theirs_sac.update({name: torch.cat([one[name], two[name]]) for name in one})

    actor, critic = dense((obs, 256, 256, 2 * act)), dense((obs + act, 256, 256, 1))
    # Forward and two ways back of actor and both critics in their own losses; of the targets and of the critics in the actor's loss
    # the way forward, there also the way back to the actions; the actor once more for the target.
    update_flops = BATCH * (3 * actor + 3 * 2 * critic + actor + 2 * critic + 2 * 2 * critic)
    step_flops = 7 * dense((obs + act, *textbook.MODEL_HIDDEN, 2 * (obs + 1)))
    moved = STARTS * LENGTH
    ours, theirs = in_turns(our_rollout, their_rollout, 2)
    report(f"rollout of {STARTS:,} x {LENGTH}, with insertion", ours, theirs, 1, "rounds", moved * (actor + step_flops))
    print(f"{'':<44}{moved / ours:27,.0f} transitions/s")
    ours_update, theirs_update = in_turns(lambda: our_updates(100), lambda: their_updates(100))
    report("SAC update, with drawing its batch", ours_update, theirs_update, 100, "updates", 100 * update_flops)
    ours, theirs = in_turns(lambda: (our_rollout(), our_updates(UPDATES)),
                            lambda: (their_rollout(), their_updates(UPDATES)), 1)  # fmt: skip
    report(f"epoch: rollout and {UPDATES} updates", ours, theirs, 1, "epochs",
           moved * (actor + step_flops) + UPDATES * update_flops)  # fmt: skip

    # --- MB2PO's second stage beside the same of MOPO ---
    _, _, _, awac, their_batches = prepared(threads, shape, 100_000, mb2po=True)

    def awac_updates(n: int) -> None:
        their_batches.draw(n, generator)
        for i in range(n):
            batch = their_batches.batch(i)
            awac.update(batch, awac.noise(len(batch), generator))

    def stage2_rollout() -> None:
        with torch.no_grad():
            their_batches.begin(1, awac.actor, generator, lambda: None)

    stage2, mopo = in_turns(stage2_rollout, our_rollout, 2)
    print(
        f"{'a rollout of MB2PO (5 members, a mixture)':<44}{1e3 * stage2:12.4g} ms: {stage2 / mopo:.2f} of MOPO's time"
    )
    each, sac = in_turns(lambda: awac_updates(100), lambda: our_updates(100))
    print(f"{'AWAC update, with drawing its batch':<44}{10 * each:12.4g} ms: {each / sac:.2f} of a SAC update's time")

    # --- dynamics: a step, and an epoch of all rows with its data handling ---
    took: list[tuple[int, float]] = []

    def our_steps(n: int) -> None:
        def on_epoch(epoch: DynamicsEpoch) -> None:
            took.append((epoch.steps, epoch.seconds))

        one = Dynamics(steps=n)
        fit(rows, obs, act, one, 0, compute, on_epoch, lambda _epoch, _share: None)

    inputs, targets = rows[:, : obs + act].numpy().copy(), torch.cat([rows[:, obs + act : obs + act + 1],
                      rows[:, obs + act + 1 : -1] - rows[:, :obs]], 1).numpy()  # fmt: skip
    bootstrap = np.random.randint(ROWS, size=(7, ROWS))

    def their_steps(n: int) -> tuple[float, float]:
        begun = time.perf_counter()
        shuffled = np.take_along_axis(bootstrap, np.random.rand(7, ROWS).argsort(1), 1)
        handled = time.perf_counter() - begun
        begun = time.perf_counter()
        for i in range(n):
            theirs_model.step(inputs, targets, shuffled[:, i * BATCH : (i + 1) * BATCH])
        return handled, (time.perf_counter() - begun) / n

    few, many = 20, 80
    steps = (ROWS - 1000) // BATCH
    our_steps(few)
    handled, step, their_handled, their_step = (float("inf"),) * 4
    for _ in range(rounds):
        took.clear()
        our_steps(few), our_steps(many)
        (n1, t1), (n2, t2) = took
        step = min(step, (t2 - t1) / (n2 - n1))
        handled = min(handled, t1 - n1 * (t2 - t1) / (n2 - n1))
        h, s = their_steps(few)
        their_handled, their_step = min(their_handled, h), min(their_step, s)
    fit_flops = 3 * 7 * BATCH * dense((obs + act, *textbook.MODEL_HIDDEN, 2 * (obs + 1)))
    report("ensemble step, 7 members x 256 rows", step, their_step, 1, "steps", fit_flops)
    report("dynamics epoch of 1,000,000 rows *", handled + steps * step, their_handled + steps * their_step, 1,
           "epochs", steps * fit_flops)  # fmt: skip
    print(f"  * {handled:.2f} s of shuffling and holdout, measured whole, and {steps} times the step")

    # --- the real environment ---
    env = gymnasium.make(env_id)
    policy = snapshot(agent)

    def our_episodes() -> None:
        run_episodes(env, deterministic(policy), 2, ("bench",))

    def their_episodes() -> None:
        for episode in range(2):
            s, _ = env.reset(seed=episode)
            done = False
            while not done:
                with torch.no_grad():
                    mean = theirs_sac.actor(torch.as_tensor(s, dtype=torch.float32)[None])[0, :act]
                s, _, terminated, truncated, _ = env.step(torch.tanh(mean).numpy())
                done = terminated or truncated

    if termination == "never":  # of an ant that falls, episodes would differ in their lengths
        ours, theirs = in_turns(our_episodes, their_episodes)
        report("evaluation", ours, theirs, 2000, "steps")

    def our_online(n: int) -> None:
        s, _ = env.reset(seed=0)
        rng = np.random.default_rng(0)
        for _ in range(n):
            acting = snapshot(agent)
            action = acting(s, rng)
            s_next, reward, terminated, truncated, _ = env.step(action)
            rows[0] = torch.from_numpy(pack(s, action, float(reward), s_next, terminated))
            s = s_next
            if terminated or truncated:
                s, _ = env.reset()
            batch = rows[torch.randint(ROWS, (BATCH,), generator=generator)]
            agent.update(batch, agent.noise(BATCH, generator))

    def their_online(n: int) -> None:
        s, _ = env.reset(seed=0)
        for _ in range(n):
            with torch.no_grad():
                action = theirs_sac.sample(torch.as_tensor(s, dtype=torch.float32)[None])[0][0].numpy()
            s_next, reward, terminated, truncated, _ = env.step(action)
            one = {"s": s[None], "a": action[None], "r": np.array([[reward]]), "s_next": s_next[None]}
            theirs_rows.add(**one, done=np.array([[float(terminated)]]))
            s = s_next
            if terminated or truncated:
                s, _ = env.reset()
            theirs_sac.update(theirs_rows.sample(BATCH))

    ours, theirs = in_turns(lambda: our_online(100), lambda: their_online(100))
    report("online SAC: a step and an update", ours, theirs, 100, "steps")


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast the engine computes.")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=float, nargs=2, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.work:
        work(wanted.shapes[0], *wanted.work)
        return
    if wanted.here:
        measure(wanted.threads[0], wanted.shapes[0], wanted.rounds)
        return
    # A process for each: threads are chosen once in a process, and graphs are compiled for them.
    for threads in wanted.threads:
        for shape in wanted.shapes:
            command = [sys.executable, __file__, "--here", "--threads", str(threads), "--shapes", shape]
            subprocess.run([*command, "--rounds", str(wanted.rounds)], check=True)
    side_by_side(wanted.shapes[0], 60.0)


if __name__ == "__main__":
    main()
