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
    shown = table.assign(evidence=[_evidence(row) for row in table.itertuples()])
    shown = shown.iloc[order.argsort(kind="stable")][list(HEADINGS)].rename(columns=HEADINGS)
    body = shown.to_html(index=False, na_rep="", border=0)
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>Claims</title>"
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _evidence(row) -> str:
    if pd.isna(row.estimate):
        return ""
    interval = "" if pd.isna(row.low) else f" [{row.low:.4g}, {row.high:.4g}]"
    return f"{row.estimate:.4g}{interval}"
