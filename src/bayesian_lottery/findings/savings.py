"""What a ticket costs: the rules behind figure 11, and behind table 1 and claim 8."""

import pandas as pd


class NotMeasured(Exception):
    """The rows do not say what is saved; the message says why."""


def savings(transplants: pd.DataFrame, source: pd.DataFrame, target: pd.DataFrame) -> pd.DataFrame:
    """The share of seconds that transplanting a ticket saves of searching for one, seed by seed.

    The ticket of level k is known when level k-1 has been trained. So its transplantation costs
    levels 0 to k-1 of the source's trunk and one training in the target's inference; the search
    to the trained ticket costs levels 0 to k of the target's trunk. k is the deepest transplanted
    level that all seeds have: the saving grows with k, and a mean over seeds should be of one k.

    Args:
        transplants: rows of runs, of the tickets of one trunk; replicates are averaged.
        source: rows of the trunk that they were found in, level 0 included.
        target: rows of the trunk that they spare, level 0 included.

    Returns:
        A row for each seed that has all of these levels, timed on one device: index `seed`, columns
        `device`, `level` (k), `density` and `share`.

    Raises:
        NotMeasured: no seed was timed on one device, or the seeds have no level in common.
    """
    timed = pd.concat([transplants, source, target])
    devices = timed.groupby("seed")["device"].agg(["nunique", "first"])
    seeds = devices.index[devices["nunique"] <= 1]
    if seeds.empty:
        names = ", ".join(sorted(timed["device"].dropna().unique()))
        raise NotMeasured(f"seconds of different devices cannot be compared ({names})")
    once, found, sought = (
        rows[rows["seed"].isin(seeds)].pivot_table("seconds", "seed", "level")
        for rows in (transplants, source, target)
    )
    once = once.dropna(axis="columns")
    if once.empty:
        raise NotMeasured("the seeds have no level in common")
    last = int(once.columns.max())
    spent = _total(found, last) + once[last]
    saved = (1 - spent / _total(sought, last + 1)).dropna()
    density = transplants[transplants["level"] == last].groupby("seed")["density"].mean()
    return pd.DataFrame({"share": saved}).assign(
        device=devices["first"], level=last, density=density
    )[["device", "level", "density", "share"]]


def _total(seconds: pd.DataFrame, levels: int) -> pd.Series:
    """The seconds of the first `levels` levels, of the seeds that have them all."""
    return seconds.reindex(columns=range(levels)).dropna().sum(axis="columns")


def spent(trunk: pd.DataFrame, level: int, scored: str, cost: str = "seconds") -> pd.Series:
    """The cost from nothing to the trained ticket of a level: a value a seed.

    They are those of all trainings that the search needs: of every level to this one, where each is
    pruned from the one before; of the dense network and the ticket, where it is pruned from the
    dense network; else of the ticket alone. A search that watches the dense network counts as a
    whole dense training, which is an upper bound. Scoring takes part of a training's job.

    Args:
        trunk: rows of runs, level 0 included.
        scored: whose trained weights the search takes; one of `tickets.searches.SCORED`.
        cost: the column, "seconds" (tests included) or "flops" (counted, of training).

    Returns:
        index `seed`; seeds that lack one of the trainings are left out.
    """
    needed = {"previous": [*range(level + 1)], "own": [level]}.get(scored, [0, level])
    costs = trunk.pivot_table(cost, "seed", "level")
    return costs.reindex(columns=needed).dropna().sum(axis="columns")
