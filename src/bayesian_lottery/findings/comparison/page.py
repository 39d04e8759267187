"""What a comparison found, as a page of Markdown."""

from collections.abc import Iterable

import pandas as pd

from bayesian_lottery.findings.claims.verdicts import NOT_TESTED
from bayesian_lottery.findings.columns import COORDINATES
from bayesian_lottery.findings.comparison.nodes import (
    BEYOND,
    FINDINGS,
    FIRST_ONLY,
    SECOND_ONLY,
)
from bayesian_lottery.findings.comparison.tables import Side, shared

_MOST = 10  # of what is listed; the CSV has all
_BOTH = FINDINGS[:4]  # of what both tables have


def page(
    first: Side, second: Side, nodes: pd.DataFrame, judged: pd.DataFrame | None, statistic: str
) -> str:
    """The comparison in words.

    Args:
        nodes: what `compare` found.
        judged: what `verdicts` found.
    """
    return (
        "\n\n".join(
            [
                f"# Two tables of results\n\na: {first.name}\n\nb: {second.name}",
                "## Nodes",
                *_nodes(first, second, nodes),
                f"## Metrics ({statistic})",
                *_metrics(nodes),
                "## Claims",
                *_claims(judged, first, second),
            ]
        )
        + "\n"
    )


def _nodes(first: Side, second: Side, nodes: pd.DataFrame) -> Iterable[str]:
    names = shared(first, second)
    a, b = (side.runs[names] for side in (first, second))
    found = a.merge(b, "outer", names, indicator=True)
    counts = found["_merge"].value_counts()
    yield (
        f"{counts['both']} nodes are in both tables, {counts['left_only']} in a only, "
        f"{counts['right_only']} in b only; paired by {', '.join(names)}."
    )
    for side, only in (("a", FIRST_ONLY), ("b", SECOND_ONLY)):
        kinds = _only(nodes, only)
        if kinds:
            more = [f"and {len(kinds) - _MOST} more"] if len(kinds) > _MOST else []
            yield f"Kinds of node in {side} only:"
            yield "\n".join(f"- {words}" for words in [*kinds[:_MOST], *more])
    for side, one, other in (("a", first, second), ("b", second, first)):
        if lacking := sorted(other.columns - one.columns):
            yield f"The table of runs of {side} lacks the columns {', '.join(lacking)}."
        if one.layers.empty:
            yield f"There is no table of layers of {side}: its claims on layers are not tested."
    rows = [
        [name, *(_values(side.runs[name]) for side in (first, second))]
        for name in ("computation", "git_commit", "device")
    ]
    yield _table(["made by", "a", "b"], rows)


def _only(nodes: pd.DataFrame, finding: str) -> list[str]:
    """The kinds of node that one table lacks, in words, with their levels."""
    kind = [nodes[name] for name in COORDINATES if name in nodes]
    found = nodes["finding"].isin(_BOTH).groupby(kind, dropna=False).transform("any")
    kinds = nodes[(nodes["finding"] == finding) & ~found]
    names = [name for name in _varied(nodes) if name != "level"]
    if not names or kinds.empty:
        return [f"level {level}" for level in sorted(kinds["level"].unique())]
    return [
        f"{_words(dict(zip(names, values, strict=True)))}: level {_values(own['level'])}"
        for values, own in kinds.groupby(names, dropna=False)
    ]


def _varied(nodes: pd.DataFrame) -> list[str]:
    """The coordinates in which the kinds of node differ."""
    return [name for name in COORDINATES if name in nodes and nodes[name].nunique() > 1]


def _words(node: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in node.items() if not pd.isna(value))


def _values(column: pd.Series) -> str:
    return ", ".join(map(str, sorted(column.dropna().unique()))) or "not said"


def _metrics(nodes: pd.DataFrame) -> Iterable[str]:
    both = nodes[nodes["finding"].isin(_BOTH)]
    rows = []
    for metric, own in both.groupby("metric", sort=False):
        counts = own["finding"].value_counts()
        ratio = (own["difference"] / own["spread"]).abs().median()
        largest = own["difference"].iloc[int(own["difference"].abs().argmax())]
        rows.append(
            [metric, len(own), *(counts.get(name, 0) for name in _BOTH),
             f"{own['difference'].mean():.3g}", f"{largest:.3g}", f"{ratio:.2g}"]
        )  # fmt: skip
    if not rows:
        yield "No kind of node is in both tables."
        return
    sizes = ["mean of b - a", "largest", "median size / s"]
    yield _table(["metric", "kinds of node", *_BOTH, *sizes], rows)
    yield (
        "*Same*: equal to nine digits, node by node. *Beyond seeds*: another draw of seeds would "
        "hardly differ as much (false discovery rate 5 %); s is the standard deviation over seeds."
    )
    beyond = nodes[(nodes["finding"] == BEYOND) & (nodes["metric"] != "seconds")]
    if len(beyond):
        yield "The clearest differences beyond seeds, seconds left out:"
        kind = _varied(nodes)
        yield _table(
            ["node", "metric", "a", "b", "s", "q"],
            [
                [_words({name: row[name] for name in kind}), row["metric"],
                 *(f"{row[name]:.4g}" for name in ("a", "b", "spread")), f"{row['q']:.2g}"]
                for row in beyond.sort_values("q", kind="stable").head(_MOST).to_dict("records")
            ],
        )  # fmt: skip


def _claims(judged: pd.DataFrame | None, first: Side, second: Side) -> Iterable[str]:
    if judged is None:
        lacking = sorted(COORDINATES.keys() - (first.columns & second.columns))
        yield f"Claims are not compared: a table lacks {', '.join(lacking)}."
        return
    tested = [judged[f"verdict_{side}"].fillna(NOT_TESTED) != NOT_TESTED for side in "ab"]
    both = judged[tested[0] & tested[1]]
    differ = both[both["verdict_a"] != both["verdict_b"]]
    yield (
        f"{len(both)} rows are tested by both tables, {(tested[0] & ~tested[1]).sum()} by a only, "
        f"{(tested[1] & ~tested[0]).sum()} by b only. Of those of both, {len(differ)} have another "
        "verdict."
    )
    if len(differ):
        rows = [
            [row["number"], row["text"], row["dataset"], row["model"],
             *(_verdict(row, side) for side in "ab")]
            for row in differ.to_dict("records")
        ]  # fmt: skip
        yield _table(["no.", "claim", "data", "model", "a", "b"], rows)


def _verdict(row: dict, side: str) -> str:
    estimate, low, high = (row[f"{name}_{side}"] for name in ("estimate", "low", "high"))
    interval = "" if pd.isna(low) else f" [{low:.4g}, {high:.4g}]"
    return f"{row[f'verdict_{side}']}: {estimate:.4g}{interval}, {row[f'seeds_{side}']} seeds"


def _table(head: list[str], rows: list[list]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
