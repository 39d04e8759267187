"""What a transplantation saves is one number, in table 1 and in claim 8."""

import pandas as pd
import pytest
import synthetic

from bayesian_lottery.findings import claims, figures, results
from bayesian_lottery.findings.savings import spent

pytestmark = pytest.mark.slow


def test_table_1_and_claim_8_say_the_same(tmp_path):
    """Of a study whose seeds end at different levels, with several scorers and rewinds."""
    nodes = [
        *synthetic.study(levels=4),
        *(n for n in synthetic.study(levels=4, rewind="lrr") if n["node"]["level"]),
        *synthetic.branches(levels=range(1, 5)),
    ]
    factor = {"mu": 3, "square": 2}
    for node in nodes:
        node["cost"]["seconds"] *= factor.get(node["node"]["scorer"], 1) + node["node"]["level"] / 9
    short = [n for n in nodes if n["node"]["seed"] < 2 or n["node"]["level"] < 4]
    runs, layers, _ = results.tables(synthetic.write(tmp_path, short))

    table = figures.draw("table1", {"runs": runs}, {}).table
    judged = claims.table(runs, layers)
    [claim] = judged[judged["claim"] == "transplant_saves"].to_dict("records")
    assert "levels 0 to 3" in claim["statistic"]
    assert table["saving_n"].tolist() == [claim["seeds"]] == [3]
    assert table["saving"].tolist() == [pytest.approx(100 * claim["estimate"], abs=1e-3)]


def test_a_ticket_costs_all_trainings_that_its_search_needs():
    trunk = pd.DataFrame(
        {
            "seed": [0] * 4 + [1] * 2,
            "level": [0, 1, 2, 3, 0, 2],
            "seconds": [1, 10, 100, 1000, 2, 3],
        }
    )
    for scored, costs in {
        "previous": {0: 111},  # seed 1 lacks level 1
        "dense": {0: 101, 1: 5},
        "watched": {0: 101, 1: 5},
        "own": {0: 100, 1: 3},
    }.items():
        assert spent(trunk, 2, scored).to_dict() == costs
