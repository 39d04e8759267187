"""What all published studies decided, in Markdown: the first section of the page on them."""

import re
from collections.abc import Collection, Mapping

import pandas as pd

from bayesian_lottery.findings.claims.page import corrected, evidence
from bayesian_lottery.findings.claims.verdicts import CONTRADICTED, SUPPORTED, UNDECIDED
from bayesian_lottery.findings.reproduction import markdown_table

_DECIDED = (SUPPORTED, CONTRADICTED)


def overview(
    judged: Mapping[str, pd.DataFrame], links: Mapping[str, str], variants: Collection[str] = ()
) -> str:
    """How many rows each study decided, and those rows, by the claims' numbers.

    Args:
        judged: of each study the table of claims.
        links: of each study a link to its section; without one its name stands.
        variants: studies whose claims are judged by another one's networks; their rows are counted
            only.
    """
    counts = []
    for name, claims in judged.items():
        by_verdict = claims["verdict"].value_counts()
        asked = by_verdict.reindex([*_DECIDED, UNDECIDED], fill_value=0)
        seeds = claims.loc[claims["verdict"].isin(asked.index), "seeds"].max()
        counts.append((links.get(name, name), 0 if pd.isna(seeds) else int(seeds), *asked))
    decided = pd.concat(
        claims[claims["verdict"].isin(_DECIDED)].assign(study=links.get(name, name))
        for name, claims in judged.items()
        if name not in variants
    ).sort_values("number", kind="stable")
    rows = [
        (row.number, row.text, row.verdict, corrected(row), f"{row.statistic}: {evidence(row)}",
         row.seeds, row.study)
        for row in decided.itertuples()
    ]  # fmt: skip
    heads = ["study", "seeds at most", *_DECIDED, UNDECIDED]
    of_rows = ["no.", "claim", "verdict", "corrected for the number of claims"]
    of_rows += ["estimate [interval]", "seeds", "study"]
    parts = markdown_table(heads, counts), markdown_table(of_rows, rows)
    return "\n\n".join(filter(None, parts))


def links(page: str) -> dict[str, str]:
    """Of each study that a page has a section for, a link there, of the words of its heading."""
    found = re.findall(r"^## (.+)\n\n<!-- study (\w+) -->", page, re.MULTILINE)
    return {name: f"[{heading}](#{_anchor(heading)})" for heading, name in found}


def _anchor(heading: str) -> str:
    """The place in a page that a heading gives a name, as GitHub forms it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
