"""What masks have in common: the table of overlaps, behind figure 13, and that of distances (12).

`study.pairs` says which masks are compared.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from bayesian_lottery import study
from bayesian_lottery.findings.columns import DISTANCE_DTYPES, OVERLAP_DTYPES
from bayesian_lottery.study import Node, Pair
from bayesian_lottery.tickets.masks import load_arrays

HELD = 64  # masks in memory at a time: more than a trunk has levels


def overlap(mask: np.ndarray, other: np.ndarray) -> dict:
    """The overlap of two masks of a layer of n weights, that keep a and b of them.

    Jaccard's index is what both keep over what either keeps. By chance, of masks that keep a and b
    weights at random, it is about c / (a + b - c) with c = a b / n. `beyond` is
    (index - chance) / (1 - chance): 1 for the same mask, 0 for chance, NaN where masks keep
    nothing or everything.
    """
    size, kept, others = mask.size, int(mask.sum()), int(other.sum())
    shared = int((mask & other).sum())
    either, expected = kept + others - shared, kept * others / size
    index = shared / either if either else math.nan
    chance = expected / (kept + others - expected) if either else math.nan
    return {
        "size": size,
        "survivors": kept,
        "other_survivors": others,
        "shared": shared,
        "jaccard": index,
        "chance": chance,
        "beyond": (index - chance) / (1 - chance) if chance < 1 else math.nan,
    }


def table(config: Mapping, pairs: Iterable[Pair]) -> pd.DataFrame:
    """The table of overlaps: a row a pair, of `study.pairs`, and layer that both masks cover.

    Raises:
        InputError: a mask is missing or damaged.
    """

    @functools.lru_cache(maxsize=HELD)
    def mask(node: Node) -> dict[str, np.ndarray]:
        return load_arrays(study.mask_file(config, node))

    return compare(pairs, mask)


def compare(
    pairs: Iterable[Pair], mask: Callable[[Node], Mapping[str, np.ndarray]]
) -> pd.DataFrame:
    """The table of overlaps of `pairs`, whose masks `mask` gives."""
    rows = []
    for pair in pairs:
        first, second = mask(pair.node), mask(pair.other)
        layers = [name for name in second if name in first]
        rows += [
            row(pair, number, name, first[name], second[name])
            for number, name in enumerate(layers, 1)
        ]
    return frame(rows)


def row(pair: Pair, layer: int, name: str, mask: np.ndarray, other: np.ndarray) -> dict:
    """The row of a layer's two masks, by its number and name."""
    told = {
        "compared": pair.compared,
        "other_seed": pair.other.seed,
        "other_inference": pair.other.inference,
    }
    return {**vars(pair.node), **told, "layer": layer, "name": name, **overlap(mask, other)}


def frame(rows: Sequence[Mapping]) -> pd.DataFrame:
    """The table of overlaps of such rows."""
    return pd.DataFrame(rows, columns=list(OVERLAP_DTYPES)).astype(OVERLAP_DTYPES)


def distances(files: Mapping[str, Node]) -> pd.DataFrame:
    """The table of distances: a row a watched training, epoch and level.

    Args:
        files: as `study.distance_files` gives them.
    """
    frames = []
    for path, node in files.items():
        seen = pd.read_csv(path)
        seen["drawn"] = seen["drawn"].astype(bool)
        names = set(DISTANCE_DTYPES) & vars(node).keys() - set(seen.columns)
        frames.append(seen.assign(**{name: getattr(node, name) for name in names}))
    none = pd.DataFrame(columns=list(DISTANCE_DTYPES))
    whole = pd.concat(frames, ignore_index=True) if frames else none
    return whole[list(DISTANCE_DTYPES)].astype(DISTANCE_DTYPES)
