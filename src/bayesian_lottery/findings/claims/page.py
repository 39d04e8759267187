"""The table of claims as a page to read, for the report."""

import pandas as pd

from bayesian_lottery.findings.claims.verdicts import VERDICTS

HEADINGS = {
    "number": "no.",
    "text": "claim",
    "paper": "shown in",
    "dataset": "data",
    "model": "model",
    "curriculum": "curriculum",
    "statistic": "statistic",
    "evidence": "estimate [interval]",
    "seeds": "seeds",
    "verdict": "verdict",
    "corrected": "corrected for the number of claims",
    "more": "more seeds that would decide",
    "reason": "reason",
}
STYLE = """
body { font-family: sans-serif; font-size: 14px; margin: 1em; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid #ccc; padding: 4px 8px; text-align: left; vertical-align: top; }
th { position: sticky; top: 0; background: white; }
"""


def page(table: pd.DataFrame) -> str:
    """`claims.table` as HTML, verdict by verdict."""
    order = table["verdict"].map({verdict: rank for rank, verdict in enumerate(VERDICTS)})
    columns = {"evidence": evidence, "corrected": corrected, "more": more}
    shown = table.assign(
        **{name: [words(row) for row in table.itertuples()] for name, words in columns.items()}
    )
    shown = shown.iloc[order.argsort(kind="stable")][list(HEADINGS)].rename(columns=HEADINGS)
    body = shown.to_html(index=False, na_rep="", border=0)
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>Claims</title>"
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def evidence(row) -> str:
    """Estimate and interval of a row of the table, in words; empty where there are none."""
    if pd.isna(row.estimate):
        return ""
    interval = "" if pd.isna(row.low) else f" [{row.low:.4g}, {row.high:.4g}]"
    return f"{row.estimate:.4g}{interval}"


def corrected(row) -> str:
    """The verdict corrected for the number of claims, and its q."""
    return "" if pd.isna(row.q) else f"{row.verdict_corrected}, q = {row.q:.2g}"


def more(row) -> str:
    """How many more seeds would decide, and in how many hours."""
    return "" if pd.isna(row.more_seeds) else f"{row.more_seeds:,} ({row.more_hours:,.3g} h)"
