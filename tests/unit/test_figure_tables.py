"""Tables 1 to 3 as files: what they average, and what they never do."""

import pandas as pd
import pytest
import synthetic
from drawn import draw, tables

from bayesian_lottery.findings import figures

pytestmark = pytest.mark.slow


def test_table1_averages_no_two_devices(tmp_path):
    def node(level, seconds, device="A100", **coordinates):
        made = synthetic.metrics(level, device=device, **coordinates)
        made["cost"]["seconds"] = seconds
        return made

    deterministic = {"inference": "deterministic", "scorer": "magnitude"}
    nodes = [
        *(node(level, 60 + 6 * level, **deterministic) for level in range(3)),
        *(node(level, 180.0) for level in range(3)),
        node(2, 150.0, branch="transplant_initial", replicate=0, **deterministic),
        node(2, 999.0, branch="reinit", replicate=0, **deterministic),
        node(0, 600.0, "H100", model="vgg11"),
        node(0, 60.0, model="vgg11", **deterministic),
    ]
    sheet = draw("table1", tables(tmp_path, nodes))
    table = sheet.table.set_index(["model", "device"])
    row = table.loc[("resnet20", "A100")]
    assert (row["deterministic"], row["deterministic_n"]) == (pytest.approx(1.1), 3)
    assert row["deterministic_sd"] == pytest.approx(0.1)
    assert (row["bayesian"], row["transplanted"]) == (pytest.approx(3), pytest.approx(2.5))
    assert row["ratio"] == pytest.approx((3 / 1 + 3 / 1.1 + 3 / 1.2) / 3)
    assert row["saving"] == pytest.approx(100 * (1 - (1 + 1.1 + 2.5) / 9))
    assert len(table.loc["vgg11"]) == 2
    assert table.loc["vgg11"]["ratio"].isna().all()

    page, csv = tmp_path / "table1.html", tmp_path / "table1.csv"
    figures.save(sheet, page)
    figures.save(sheet, csv)
    assert "<td>1.10 ± 0.10<small>n = 3</small></td>" in page.read_text()
    assert pd.read_csv(csv)["saving_n"].sum() == 1


def test_table2_averages_over_seeds_and_leaves_out_what_was_refused(whole):
    table = draw("table2", whole).table
    where = "model == 'resnet20' and level == 3 and curriculum == 'low'"
    own = table.query(where).set_index(["network", "format"])
    assert len(own) == 3 * 2  # what predicts, formats
    csr = own.loc[("Bayesian, mean", "CSR")]
    made = whole["exports"].query(f"{where} and predicts == 'mean' and format == 'csr'")
    assert csr["accuracy"] == pytest.approx(100 * made["accuracy"].mean())
    assert csr["times_smaller_n"] == made["seed"].nunique() == 2
    refused = whole["exports"][whole["exports"]["refused"].notna()]
    assert len(refused) and draw("table2", {**whole, "exports": refused}).table.empty


def test_table3_averages_no_two_curricula(whole):
    agreement = whole["agreement"]
    both = pd.concat([agreement, agreement.assign(curriculum="low")])
    table = draw("table3", {**whole, "agreement": both}).table
    assert len(table) == 2 * len(draw("table3", whole).table)
    assert set(table["curriculum"]) == {"paper", "low"}
