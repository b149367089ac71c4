"""Reads the event files of a run with TensorBoard's own reader, and compares them with its metrics.json.

    pip install tensorboard
    python study/scripts/read_events.py RUN

Fails if a value is missing, differs from metrics.json, or is there twice. The steps may begin late, as those of a run that was
resumed with --tensorboard do.
"""

import csv
import json
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main() -> None:
    run = Path(sys.argv[1])
    rows = json.loads((run / "metrics.json").read_text())
    # 0: every event is kept, not a sample.
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    for tag, values in scalars.items():
        steps = [value.step for value in values]
        assert steps == sorted(set(steps)), f"{tag}: steps {steps}"
        if tag.startswith("step/"):
            assert steps == list(range(steps[0], steps[-1] + 1)), f"{tag}: steps are missing"
    # By tag: the epochs with a value, and the values.
    values_of: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        expected = {f"epoch/{name}": value for name, value in row["train"].items()}
        expected["epoch/Seconds"] = row["seconds"]
        validation = row["validation"] or {"figures": {}}
        expected |= {f"validation/{name}": value for name, value in validation["figures"].items() if value is not None}
        for tag, value in expected.items():
            values_of.setdefault(tag, []).append((row["epoch"], value))
    of_epochs = {tag for tag in scalars if not tag.startswith("step/")}
    assert of_epochs == set(values_of), f"tags {sorted(of_epochs ^ set(values_of))}"
    compared = 0
    for tag, values in values_of.items():
        assert len(scalars[tag]) == len(values), f"{tag}: {len(scalars[tag])} values, not {len(values)}"
        for event, (epoch, value) in zip(scalars[tag], values):
            assert abs(event.value - value) <= 1e-6 * abs(value), f"{tag}, epoch {epoch}: {event.value}, not {value}"
            compared += 1

    with (run / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows)
    for cells, row in zip(table, rows):
        assert int(cells["epoch"]) == row["epoch"] and float(cells["seconds"]) == row["seconds"]
        for name, value in row["train"].items():
            assert float(cells[f"train/{name}"]) == value, name
        for name, value in (row["validation"] or {"figures": {}})["figures"].items():
            assert cells[f"validation/{name}"] == "" if value is None else float(cells[f"validation/{name}"]) == value, name
    steps = max((len(values) for tag, values in scalars.items() if tag.startswith("step/")), default=0)
    print(f"{len(rows)} epochs, {steps} steps, {len(scalars)} tags, {compared} values as in metrics.json, metrics.csv equal")


if __name__ == "__main__":
    main()
