"""Tables: a row an example, one column its class; numbers standardised, categories one-hot.

What is learnt of the columns, means, deviations and categories, is learnt of the training rows.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bayesian_lottery.data import subsets
from bayesian_lottery.errors import InputError, choice, few, short

if TYPE_CHECKING:
    import pandas as pd

    from bayesian_lottery.data.decoded import Images, Split

SUFFIXES = (".csv", ".csv.gz", ".parquet")
ROOT = f"a table, {few(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
MOST = 1000  # categories of a column, each of which becomes a column


def look(name: str, root: Path, settings: Mapping, fraction: float) -> tuple[tuple, list]:
    """The shape (columns, 1, 1) and the training rows of each class that `decode` will find.

    There may be fewer columns: categories that no training row has are counted here.

    Args:
        name: the data set's.
        root: the file.
        settings: `target`, `numeric` and `categorical`; the latter two may be absent.
        fraction: the share of each class to test on.
    """
    frame, numeric, categorical = _columns(name, root, settings)
    target = frame[settings["target"]]
    _classes(name, target, fraction)
    rows = Counter(target)
    train = [rows[each] - subsets.held(rows[each], fraction) for each in sorted(rows)]
    columns = len(numeric) + sum(frame[column].nunique() for column in categorical)
    return (columns, 1, 1), train


def decode(
    name: str,
    root: Path,
    settings: Mapping,
    fraction: float,
    divide: Callable[[Split], tuple[Split, Split]],
) -> Images:
    """The rows of a file as `encode` makes them; the other arguments are those of `look`."""
    frame, numeric, categorical = _columns(name, root, settings)
    target = frame[settings["target"]]
    _classes(name, target, fraction)
    return encode(name, frame[numeric], frame[categorical], target, divide)


def breast_cancer(name: str, divide: Callable[[Split], tuple[Split, Split]]) -> Images:
    """Breast Cancer Wisconsin (Diagnostic), inside scikit-learn: 569 rows of 30 measurements."""
    import pandas as pd
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer(as_frame=True)
    words = table.target.map(dict(enumerate(table.target_names)))
    return encode(name, table.data, pd.DataFrame(index=table.data.index), words, divide)


def encode(
    name: str,
    numbers: pd.DataFrame,
    categories: pd.DataFrame,
    target: pd.Series,
    divide: Callable[[Split], tuple[Split, Split]],
) -> Images:
    """Standardised numbers and one-hot categories, (N, columns, 1, 1) float32.

    A number becomes (x - mean) / deviation by the training rows, of a column that is constant there
    x - mean. A category becomes 1 in its own column and 0 in the others of the same; one that no
    training row has is 0 in all.
    """
    import numpy as np
    import torch

    from bayesian_lottery.data.decoded import Images, Split

    classes = sorted(target.unique())
    labels = torch.tensor(target.map({c: i for i, c in enumerate(classes)}).to_numpy(np.int64))
    train, test = divide(Split(torch.arange(len(labels)), labels))  # rows are numbers as yet
    rows = train.images.numpy()

    values = numbers.to_numpy(np.float64)
    mean, std = values[rows].mean(0), values[rows].std(0)
    std[np.ptp(values[rows], axis=0) == 0] = 1
    parts, names = [(values - mean) / std], [*map(str, numbers.columns)]
    for column in categories:
        words = categories[column].astype(str).to_numpy(object)
        known = sorted(set(words[rows]))
        parts.append(words[:, None] == np.array(known, object))
        names += [f"{column}={word}" for word in known]
    whole = torch.from_numpy(np.concatenate(parts, 1, dtype=np.float64)).float()[:, :, None, None]
    added = len(names) - len(mean)
    return Images(
        name,
        tuple(map(str, classes)),
        Split(whole[train.images], train.labels),
        Split(whole[test.images], test.labels),
        torch.from_numpy(np.append(mean, np.zeros(added))),
        torch.from_numpy(np.append(std, np.ones(added))),
        tuple(names),
    )


def _columns(name: str, root: Path, settings: Mapping) -> tuple[pd.DataFrame, list, list]:
    """The table, and the names of its numeric and categorical columns.

    Raises:
        InputError: a column is not there, or is not what it is to be, or lacks values.
    """
    from pandas.api.types import is_bool_dtype, is_list_like, is_numeric_dtype

    key, target = f"datasets.{name}", settings.get("target")
    frame = _read(key, root)
    if target not in frame.columns:
        if target is None:
            raise InputError(f"{key}.target: missing; the source table needs a column's name here.")
        raise choice(f"{key}.target", target, map(str, frame.columns))
    is_number = {c: is_numeric_dtype(frame[c]) and not is_bool_dtype(frame[c]) for c in frame}
    given = {kind: settings.get(kind) for kind in ("numeric", "categorical")}
    if given["numeric"] is None and given["categorical"] is None:
        others = [column for column in frame.columns if column != target]
        given["numeric"] = [column for column in others if is_number[column]]
        given["categorical"] = [column for column in others if not is_number[column]]
    numeric, categorical = (given[kind] or [] for kind in ("numeric", "categorical"))
    for kind, columns in given.items():
        for column in columns or []:
            if column not in frame.columns:
                raise choice(f"{key}.{kind}", column, map(str, frame.columns))
            if column == target:
                raise InputError(f"{key}.{kind}: {short(column)} is the target.")
    for column in numeric:
        if column in categorical or not is_number[column]:
            fault = "is categorical too" if column in categorical else "holds more than numbers"
            raise InputError(f"{key}.numeric: the column {short(column)} {fault}.")
    for column in [target, *categorical]:
        if frame[column].map(is_list_like).any():
            raise InputError(
                f"{key}.root: '{root}' has lists or mappings in the column {short(column)}; "
                "each row must have a single value there."
            )
    for column in categorical:
        if (count := frame[column].nunique()) > MOST:
            raise InputError(
                f"{key}.categorical: the column {short(column)} has {count} different values, and "
                f"{MOST} are the most; leave it out by naming the columns to use."
            )
    if not numeric and not categorical:
        raise InputError(f"{key}.root: '{root}' has no column beside the target.")
    missing = frame[[target, *numeric, *categorical]].isna().sum()
    if missing.any():
        lacking = few(f"{count} in {column}" for column, count in missing.items() if count)
        raise InputError(f"{key}.root: '{root}' lacks values, {lacking}; fill them or drop rows.")
    unbounded = [c for c in numeric if not frame[c].astype("float64").abs().max() < 1e30]
    if unbounded:
        raise InputError(f"{key}.root: '{root}' has numbers beyond 1e30 in {few(unbounded)}.")
    return frame, numeric, categorical


def _read(key: str, root: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if root.name.endswith(".parquet"):
            return pd.read_parquet(root)
        if root.name.endswith(SUFFIXES):
            return pd.read_csv(root)
    except (EOFError, OSError, ValueError, zlib.error) as error:
        fault = " ".join(str(error).split())
        raise InputError(f"{key}.root: '{root}' is no table that can be read ({fault}).") from None
    raise InputError(f"{key}.root: '{root}' is not of a known kind; give {ROOT}.")


def _classes(name: str, target: pd.Series, fraction: float) -> None:
    """Refuse a target of one class, or of one that is too small to be divided."""
    counts = target.value_counts()
    where = f"datasets.{name}.target: the column {short(target.name)}"
    if len(counts) < 2:
        raise InputError(f"{where} has {len(counts)} class where two are the least.")
    few_rows = [
        value for value, count in counts.items() if count < 2 or not round(fraction * count)
    ]
    if few_rows:
        raise InputError(
            f"{where} has too few rows of the class {few(few_rows, 3)} to test on {fraction:g} of"
            " it."
        )
