"""The effect of each loss on AP over several studies, and what moderates it.

    venv/bin/python study/scripts/effects.py docs/results/evidence/*/table1.json

A study is a `table1.json` of `reproduce`: one data set, schedule and start. Differences to the first row are paired
by seed. For each study, the script prints their mean with its 95% interval (Student's t), p after Holm's correction for
the rows of the study, and the number of seeds that an interval of ±0.5 AP needs at the measured spread.

Over all studies, a mixed model estimates the effect of each loss on the mean difference of a study: effect + study +
error. The effects of studies are random (REML). The variance of the error is that over the seeds of a study, divided by
their number, and taken as known: of few seeds, it makes intervals a little too narrow. Studies with fewer than three
seeds are left out, and losses in fewer than three studies. Intervals are those of Hartung and Knapp, but never narrower
than the known variances allow, with as many degrees of freedom as there are studies, less the fixed effects. A moderator
is a fixed effect added to the model, one at a time, if two degrees of freedom are left: the start, epochs, objects an
image, classes, and the share of the detections on objects that are duplicates in the first row. Tables that do not
record one are left out of its model.

statsmodels comes from PyPI.
"""

import argparse
import json
import math
import re
import statistics
from dataclasses import dataclass, field
from pathlib import Path

import numpy
from scipy import stats
from scipy.optimize import minimize_scalar
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
    moderators = {"twice the objects an image": math.log2(objects / images), "twice the classes": math.log2(classes)}
    # A table whose first row has no runs has no configuration.
    configuration = table["configuration"] or {}
    # Older tables have the start beside the configuration, the oldest not at all.
    for record in (table, configuration):
        if "initial_weights" in record:
            moderators["trained start"] = float(record["initial_weights"] not in (None, "random"))
    if epochs := configuration.get("duration", {}).get("epochs"):
        moderators["twice the epochs"] = math.log2(epochs)
    if choices:
        share = statistics.mean(1 - choice["found"] / choice["fitting"] for choice in choices)
        moderators["10% more duplicates"] = 10 * share
    study = Study("/".join(path.resolve().parent.parts[-2:]), moderators)
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


def fit(means, variances, columns, least_freedom=1):
    """The last coefficient of a random-effects regression of means with known variances; `None` if it has no interval."""
    means, variances = numpy.array(means), numpy.array(variances)
    design = numpy.column_stack([numpy.ones(len(means)), *columns])
    freedom = len(means) - design.shape[1]
    limit = 10 * (means.var() + variances.max(initial=0))
    if freedom < least_freedom or numpy.linalg.matrix_rank(design) < design.shape[1] or limit == 0:
        return None

    def model(between):
        """The coefficients, their covariance with known variances, and the weighted squares of the residuals."""
        # Some variances may be 0.
        weights = 1 / (variances + between + 1e-9 * limit)
        covariance = numpy.linalg.inv(design.T @ (weights[:, None] * design))
        coefficients = covariance @ design.T @ (weights * means)
        return weights, coefficients, covariance, (weights * (means - design @ coefficients) ** 2).sum()

    def restricted(between):
        """−2 log of the restricted likelihood, but for a constant."""
        weights, _, covariance, squares = model(between)
        return squares - numpy.log(weights).sum() - numpy.linalg.slogdet(covariance)[1]

    between = minimize_scalar(restricted, bounds=(0, limit), method="bounded", options={"xatol": 1e-6 * limit}).x
    _, coefficients, covariance, squares = model(between)
    error = math.sqrt(covariance[-1, -1] * max(1, squares / freedom))
    mean = coefficients[-1]
    p = 2 * stats.t.sf(abs(mean / error), freedom)
    return Effect(mean, stats.t.ppf(0.975, freedom) * error, p, math.sqrt(between))


def fit_row(name, studies, moderator=None):
    means = [statistics.mean(study.gains[name]) for study in studies]
    variances = [statistics.variance(study.gains[name]) / len(study.gains[name]) for study in studies]
    if moderator is None:
        return fit(means, variances, [])
    return fit(means, variances, [[study.moderators[moderator] for study in studies]], least_freedom=2)


def print_effects(studies):
    names = dict.fromkeys(name for study in studies for name in study.gains)
    labels = {name: label for study in studies for name, label in study.labels.items()}
    moderators = list(dict.fromkeys(moderator for study in studies for moderator in study.moderators))
    effects, moderated = {}, {}
    for name in names:
        found = [study for study in studies if len(study.gains.get(name, [])) >= 3]
        if len(found) < 3 or (effect := fit_row(name, found)) is None:
            continue
        effects[name] = (len(found), sum(len(study.gains[name]) for study in found), effect)
        for moderator in moderators:
            moderated[name, moderator] = fit_row(name, [study for study in found if moderator in study.moderators], moderator)
    if not effects:
        return
    corrected = multipletests([effect.p for *_, effect in effects.values()], method="holm")[1]
    print("\n## Over all studies\n\n| | studies | runs | effect on AP | p | deviation between studies |\n|---|---|---|---|---|---|")
    for (name, (count, runs, effect)), p in zip(effects.items(), corrected):
        print(f"| {labels[name]} | {count} | {runs} | {interval(effect.mean, effect.margin)} | {p:.3f} | {effect.between:.1f} |")
    moderators = [moderator for moderator in moderators if any(moderated[name, moderator] for name in effects)]
    if not moderators:
        return
    print(f"\n## Moderators\n\nChange of the effect on AP.\n\n| | {' | '.join(moderators)} |\n|---|{'---|' * len(moderators)}")
    for name in effects:
        cells = [moderated[name, moderator] for moderator in moderators]
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
