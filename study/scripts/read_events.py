"""Reads the event files of a run with TensorBoard's own reader, and compares them with its metrics.json.

    pip install tensorboard
    python study/scripts/read_events.py RUN

Fails if a value is missing, differs from metrics.json, or is there twice.
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
            assert steps == list(range(1, steps[-1] + 1)), f"{tag}: steps are missing"
    compared = 0
    for index, row in enumerate(rows):
        expected = {f"epoch/{name}": value for name, value in row["train"].items()}
        expected["epoch/Seconds"] = row["seconds"]
        validation = row["validation"] or {"figures": {}}
        expected |= {f"validation/{name}": value for name, value in validation["figures"].items() if value is not None}
        for tag, value in expected.items():
            found = scalars[tag][index].value
            assert abs(found - value) <= 1e-6 * abs(value), f"{tag}, epoch {row['epoch']}: {found}, not {value}"
            compared += 1
    for tag in scalars:
        if not tag.startswith("step/"):
            assert len(scalars[tag]) == len(rows), f"{tag}: {len(scalars[tag])} values for {len(rows)} epochs"

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
