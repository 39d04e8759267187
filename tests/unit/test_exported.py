"""Exported networks in a study: which levels, what is measured of them, table 2 and the claims."""

import random
from dataclasses import replace

import pandas as pd
import pytest
import yaml
from pruned_networks import folder_of, node_of, sparse
from small_study import SCHEMA, STUDY
from synthetic_claims import no_layers, study

from bayesian_lottery import study as studies
from bayesian_lottery.errors import InputError
from bayesian_lottery.exports.measuring import measure
from bayesian_lottery.files import read_json, write_json
from bayesian_lottery.findings import claims, exported, figures, results
from bayesian_lottery.findings.claims import exports as exports_claims
from bayesian_lottery.findings.claims.verdicts import CONTRADICTED, NOT_TESTED, SUPPORTED
from bayesian_lottery.findings.figures import NothingToShow
from bayesian_lottery.study import configuration

SETTINGS = {"formats": ["csr", "packed", "2of4"], "batches": [1, 4], "samples": 2, "seconds": 0}
BY = ["format", "predicts", "batch"]


def measured(tmp_path, inference):
    folder, _ = folder_of(tmp_path, "lenet_100_50", inference, sparse("lenet_100_50"))
    output = tmp_path / "exports.json"
    measure(folder, tmp_path / "data", SETTINGS, tmp_path / "files", output)
    return output


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_a_node_is_exported_and_measured(tmp_path, capsys, inference):
    output = measured(tmp_path, inference)
    predicts = {"deterministic": [None], "bayesian": ["mean", "samples"]}[inference]
    table = exported.table([output])
    assert len(table) == len(predicts) * (2 * 2 + 1)
    refused = table[table["refused"].notna()]
    assert set(refused["format"]) == {"2of4"} and refused["bytes"].isna().all()
    assert refused["refused"].str.contains("prune with the pattern 2of4").all()
    made = table[table["refused"].isna()]
    files = {path.name: path.stat().st_size for path in (tmp_path / "files").iterdir()}
    for row in made.to_dict("records"):
        own = f"{row['format']}{'' if pd.isna(row['predicts']) else '_' + row['predicts']}"
        assert row["bytes"] == files[f"{own}.safetensors"] > row["weights_bytes"]
        networks = 2 if row["predicts"] == "samples" else 1
        assert row["samples"] == networks
        assert row["dense_bytes"] == networks * 4 * (64 * 100 + 100 * 50 + 500 + 160)
        assert row["times_smaller"] == row["dense_bytes"] / row["weights_bytes"]
        assert row["throughput"] == pytest.approx(row["batch"] / row["seconds"])
        assert 0 <= row["accuracy"] <= 1 and row["nll"] > 0
    assert set(table["level"]) == {3} and set(table["search"]) == {"iterative"}
    assert "times as fast as dense" in capsys.readouterr().out
    drawn = figures.draw("table2", {"exports": table}, {})
    assert len(drawn.table) == 2 * len(predicts)
    figures.save(drawn, tmp_path / "table2.html")
    page = (tmp_path / "table2.html").read_text()
    assert "packed int8 survivors" in page and "Batch of 4 (ms)" in page


@pytest.mark.parametrize("error", [RuntimeError("no graph"), SystemExit(2)])
def test_a_model_that_no_graph_expresses_is_refused_and_the_others_are_made(
    tmp_path, monkeypatch, error
):
    def failing(*_, **__):
        raise error

    monkeypatch.setattr("torch.onnx.export", failing)
    monkeypatch.setitem(SETTINGS, "formats", ["onnx", "csr"])
    table = exported.table([measured(tmp_path, "deterministic")])
    refused = dict(zip(table["format"], table["refused"], strict=True))
    assert "cannot make a graph of this model" in refused["onnx"] and pd.isna(refused["csr"])


def test_a_table_of_other_files_is_refused(tmp_path):
    path = measured(tmp_path, "deterministic")
    write_json(path, {"node": read_json(path)["node"]})
    with pytest.raises(InputError, match=r"exports\.json: no measurements of exports"):
        exported.table([path])
    with pytest.raises(NothingToShow, match="No level is exported"):
        figures.plan("table2", [], {})


# Which levels


def configured(tmp_path, *entries):
    config = {**STUDY, "results": str(tmp_path), "exports": [*entries]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    return configuration.load([tmp_path / "study.yaml"], [], SCHEMA)[0]


def test_an_entry_names_levels_of_the_trunks_that_it_matches(tmp_path):
    entry = {"levels": [0, 1], "formats": ["csr"], "model": "vit_nano", "rewind": "imp"}
    config = configured(tmp_path, {**entry, "inference": "bayesian", "curriculum": "adam"})
    chosen = studies.exported(config, studies.expand(config))
    assert [node.folder.removeprefix("runs/digits/vit_nano/bayesian/adam/") for node in chosen] == [
        "seed0/dense",
        "seed0/snr_imp/level01",
    ]
    told = {"formats": ["csr"], "batches": [1, 32, 256], "samples": 10, "seconds": 1}
    assert all(settings == told for settings in chosen.values())
    assert not studies.exported(configured(tmp_path), [])


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([{"formats": ["cbor"]}], r"exports entry 1\.formats: 'cbor' is not known; choose from"),
        ([{"levels": [2]}], r"exports entry 1\.levels: 2 lies beyond level 1, the last of"),
        ([{"model": ["vit_nano", "vit"]}], r"exports entry 1\.model: 'vit' is not known; choose"),
        ([{"seeds": [0, 7]}], r"exports entry 1\.seeds: 7 is not known; choose from 0"),
        ([{}, {"levels": [0]}], r"exports: runs/\S+/dense is listed twice \(entries 1 and 2\)"),
        ([{"batches": [0]}], r"exports\[0\]\.batches\[0\]|exports entry 1|exports"),
    ],
)
def test_wrong_entries_end_in_a_sentence(tmp_path, entries, sentence):
    with pytest.raises(InputError, match=sentence):
        configured(tmp_path, *({"levels": [0], "formats": ["csr"], **each} for each in entries))


# Claims


def rows_of(inference, pattern="weights", seeds=5, **values):
    """A table of exports of level 10 (10.7 %) and 13 (5.5 %), by several formats and batches."""
    rows, draw = [], random.Random(0)
    scorer = {"deterministic": "magnitude", "bayesian": "snr"}[inference]
    predicts = {"deterministic": [None], "bayesian": ["mean", "samples"]}[inference]
    for seed in range(seeds):
        for level in (10, 13):
            node = replace(
                node_of("vgg11", inference),
                dataset="digits", curriculum="paper", scorer=scorer, level=level, seed=seed,
                pattern=pattern,
            )  # fmt: skip
            shared = {**studies.LATER, **node.coordinates(), "density": 0.8**level}
            for format in ("csr", "compact", "packed", "onnx"):
                for each in predicts:
                    for batch in (1, 256):
                        row = {"times_as_fast": 1.5, "seconds": 0.02, "times_smaller": 10.0}
                        row |= {"format": format, "predicts": each, "batch": batch}
                        row |= values.get(format, {})
                        noisy = {k: v * draw.uniform(0.99, 1.01) for k, v in row.items()
                                 if isinstance(v, float)}  # fmt: skip
                        rows.append({**shared, **row, **noisy})
    return pd.DataFrame(rows, columns=list(exported.DTYPES)).astype(exported.DTYPES)


FAST, SLOW, UNITS = {"times_as_fast": 8.0}, {"times_as_fast": 0.8}, {"pattern": "units"}
# Claim -> (exports in which it is true, exports in which it is false).
CASES = {
    "sparse_is_faster": ({"csr": FAST}, {"onnx": FAST}),
    "prediction_in_10_ms": ({"onnx": {"seconds": 0.001}}, {}),
    "forty_times_smaller": ({"packed": {"times_smaller": 50.0}}, {}),
    "structured_faster": (UNITS, UNITS | {"csr": SLOW, "compact": SLOW}),
}  # fmt: skip


@pytest.fixture(scope="module")
def runs():
    return study("vgg11", seeds=5)


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
@pytest.mark.parametrize("claim", CASES)
def test_claims_on_exports(runs, claim, inference):
    name = f"{claim}_{inference}"
    verdicts = []
    for made in CASES[claim]:
        table = claims.table(runs, no_layers(), {}, rows_of(inference, **made))
        verdicts.append(table.set_index("claim").loc[name, "verdict"])
    assert verdicts == [SUPPORTED, CONTRADICTED]
    nothing = claims.table(runs, no_layers()).set_index("claim").loc[name]
    assert nothing["verdict"] == NOT_TESTED and "is exported" in nothing["reason"]


@pytest.mark.slow
def test_claims_on_exports_are_of_the_tickets_chosen(runs):
    tickets = {"ranking": "layerwise"}
    ours = runs.assign(ranking=runs["ranking"].replace("global", "layerwise"))
    rows = rows_of("deterministic", csr=FAST).assign(**tickets)
    judged = claims.table(ours, no_layers(), {"tickets": tickets}, rows).set_index("claim")
    assert judged.loc["sparse_is_faster_deterministic", "verdict"] == SUPPORTED


def test_every_claim_on_exports_has_a_case():
    names = {f"{name}_{kind}" for name in CASES for kind in ("deterministic", "bayesian")}
    assert names == set(exports_claims.CLAIMS)


def test_the_table_is_read_back(tmp_path):
    table = exported.table([measured(tmp_path, "deterministic")])
    results.write(table, tmp_path / "exports.parquet", tmp_path / "exports.csv")
    pd.testing.assert_frame_equal(results.read(tmp_path / "exports.parquet"), table)
