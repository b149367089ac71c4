"""The effect of each loss on AP over several studies, and what moderates it.

    venv/bin/python study/scripts/effects.py docs/results/evidence/*/table1.json

A study is a `table1.json` of `reproduce`: one data set, schedule and start. Differences to the first row are paired
by seed. For each study, the script prints their mean with its 95% interval (Student's t), p after Holm's correction for
the rows of the study, and the number of seeds that an interval of ±0.5 AP needs at the measured spread.

Over all studies, a mixed model estimates the effect of a row: difference = effect + study + seed, where the effects of
study and seed are random (REML). The interval takes as many degrees of freedom as there are studies, less the
fixed effects. A moderator is a fixed effect added to the model, one at a time: the start, the length of the training,
objects an image, classes, and the share of the detections on objects that are duplicates in the first row.

statsmodels comes from PyPI.
"""

import argparse
import json
import math
import re
import statistics
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.stats.multitest import multipletests


@dataclass
class Study:
    name: str
    moderators: dict
    # Differences in AP, in points, by row.
    gains: dict = field(default_factory=dict)
    labels: dict = field(default_factory=dict)


def read(path, metric):
    table = json.loads(path.read_text())
    images, objects, classes = map(int, re.search(r"(\d+) images, (\d+) objects, (\d+) class", table["data"]).groups())
    first, *others = table["rows"]
    choices = [run["choices"] for run in first["runs"] if (run.get("choices") or {}).get("fitting")]
    moderators = {
        "trained start": float(table.get("initial_weights") is not None),
        "twice the epochs": math.log2(table["configuration"]["duration"]["epochs"]),
        "twice the objects an image": math.log2(objects / images),
        "twice the classes": math.log2(classes),
    }
    if choices:
        share = statistics.mean(1 - choice["found"] / choice["fitting"] for choice in choices)
        moderators["10% more duplicates"] = 10 * share
    study = Study(path.parent.name, moderators)
    base = {run["seed"]: value(run, metric) for run in first["runs"]}
    for row in others:
        study.labels[row["name"]] = row["label"]
        study.gains[row["name"]] = [value(run, metric) - base[run["seed"]] for run in row["runs"] if run["seed"] in base]
    return study


def value(run, metric):
    return 100 * run["evaluation"]["figures"][metric]


def interval(mean, margin):
    return f"{mean:+.1f} [{mean - margin:+.1f}, {mean + margin:+.1f}]"


def seeds_for(deviation, margin):
    """The smallest number of seeds whose interval is within ±`margin`."""
    return next(n for n in range(2, 10_000) if stats.t.ppf(0.975, n - 1) * deviation / math.sqrt(n) <= margin)


def print_study(study):
    rows = {name: gains for name, gains in study.gains.items() if len(gains) >= 2}
    if not rows:
        return
    raw = [stats.ttest_1samp(gains, 0).pvalue for gains in rows.values()]
    corrected = multipletests(raw, method="holm")[1]
    print(f"\n## {study.name}\n\n| | seeds | difference in AP | p | deviation over seeds | seeds for ±0.5 |\n|---|---|---|---|---|---|")
    for (name, gains), p in zip(rows.items(), corrected):
        deviation = statistics.stdev(gains)
        margin = stats.t.ppf(0.975, len(gains) - 1) * deviation / math.sqrt(len(gains))
        cells = [study.labels[name], len(gains), interval(statistics.mean(gains), margin), f"{p:.3f}", f"{deviation:.1f}"]
        print(f"| {' | '.join(map(str, cells))} | {seeds_for(deviation, 0.5)} |")


@dataclass
class Effect:
    mean: float
    margin: float
    p: float
    between: float


def fit(gains, groups, columns):
    """The last coefficient of a mixed model with an intercept for each group, with its interval; `None` if the fit fails."""
    design = numpy.column_stack([numpy.ones(len(gains)), *columns])
    with warnings.catch_warnings():
        # A variance between studies of 0 is a boundary of the parameters, of which the fit warns.
        warnings.simplefilter("ignore")
        try:
            model = MixedLM(numpy.array(gains), design, groups=groups).fit(reml=True)
        except numpy.linalg.LinAlgError:
            return None
    freedom = len(set(groups)) - design.shape[1]
    mean, error = model.fe_params[-1], model.bse_fe[-1]
    if freedom < 1 or not model.converged or not math.isfinite(error) or error == 0:
        return None
    p = 2 * stats.t.sf(abs(mean / error), freedom)
    return Effect(mean, stats.t.ppf(0.975, freedom) * error, p, math.sqrt(max(0.0, float(model.cov_re[0, 0]))))


def print_effects(studies):
    names = list(dict.fromkeys(name for study in studies for name, gains in study.gains.items() if gains))
    labels = {name: label for study in studies for name, label in study.labels.items()}
    effects, moderated = {}, {}
    for name in names:
        found = [study for study in studies if study.gains.get(name)]
        gains = [gain for study in found for gain in study.gains[name]]
        groups = [study.name for study in found for _ in study.gains[name]]
        if len(found) < 3:
            continue
        effect = fit(gains, groups, [])
        if effect is None:
            print(f"\nThe model of {labels[name]} cannot be fitted.")
            continue
        effects[name] = (len(found), len(gains), effect)
        for moderator in studies[0].moderators:
            if not all(moderator in study.moderators for study in found):
                continue
            if len({study.moderators[moderator] for study in found}) < 2:
                continue
            column = [study.moderators[moderator] for study in found for _ in study.gains[name]]
            moderated[name, moderator] = fit(gains, groups, [column])
    if not effects:
        return
    corrected = multipletests([effect.p for *_, effect in effects.values()], method="holm")[1]
    print("\n## Over all studies\n\n| | studies | runs | effect on AP | p | deviation between studies |\n|---|---|---|---|---|---|")
    for (name, (count, runs, effect)), p in zip(effects.items(), corrected):
        print(f"| {labels[name]} | {count} | {runs} | {interval(effect.mean, effect.margin)} | {p:.3f} | {effect.between:.1f} |")
    moderators = list(dict.fromkeys(moderator for _, moderator in moderated))
    print(f"\n## Moderators\n\nChange of the effect on AP.\n\n| | {' | '.join(moderators)} |\n|---|{'---|' * len(moderators)}")
    for name in effects:
        cells = [moderated.get((name, moderator)) for moderator in moderators]
        cells = [interval(cell.mean, cell.margin) if cell else "–" for cell in cells]
        print(f"| {labels[name]} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+", help="`table1.json` of each study")
    parser.add_argument("--metric", default="AP", help="a COCO metric of the tables")
    args = parser.parse_args()
    studies = [read(path, args.metric) for path in args.tables]
    print(f"# Effects on {args.metric}")
    for study in studies:
        print_study(study)
    print_effects(studies)


if __name__ == "__main__":
    main()
