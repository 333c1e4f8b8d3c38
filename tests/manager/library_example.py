import time

from mopo_tui.manager import RunReader, Store, compare
from mopo_tui.manager.new_run import resolve_run

store = Store.open()  # the one that `mopo` uses; Store.open(Path("elsewhere")) opens another
runs = []
for seed in range(2):
    settings = {"task": "ant-angle", "preset": "smoke", "seed": seed, "compute.threads": 1}
    run = store.create(resolve_run([("example", settings)]).config, name=f"example {seed}")
    store.launch(run)  # a process of its own, which outlives this one; store.stop(run) ends it
    runs.append(run)

reader = RunReader(runs[0].folder)
while not all(store.run(run.id).state.over for run in runs):
    if reader.refresh():  # reads only what is new
        score = reader.series("eval/return")  # numpy arrays: step, update, epoch, t, value
        print(f"{len(score)} evaluations, best {score.value.max(initial=float('-inf')):.1f}")
    time.sleep(1)

for group in compare([store.run(run.id) for run in runs]).groups():
    print(f"{group.label}: {group.final.mean:.1f} ± {group.final.std:.1f} over {len(group.runs)} seeds")
