"""What the documents say of settings, files and tests is what there is."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from bayesian_lottery.data.sources import SOURCES, TEST_FRACTION
from bayesian_lottery.inference.kinds import KINDS, Variational
from bayesian_lottery.inference.mean_field import Posterior
from bayesian_lottery.models import MODELS
from bayesian_lottery.options import Nothing
from bayesian_lottery.study.formats import FORMATS
from bayesian_lottery.tickets.branches import BRANCHES, MASKS, WEIGHTS, Branch
from bayesian_lottery.tickets.objectives import OBJECTIVES
from bayesian_lottery.tickets.patterns import PATTERNS
from bayesian_lottery.tickets.rankings import RANKINGS
from bayesian_lottery.tickets.rewinds import REWINDS
from bayesian_lottery.tickets.scores import SCORERS
from bayesian_lottery.tickets.searches import SEARCHES

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("docs/*.md"))]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
OPEN = object()  # a key without a default
NOT_IN_SCHEMA = {
    "datasets.*.test_fraction": TEST_FRACTION,
    "branch_kinds.*.mask": Branch().mask,
    "branch_kinds.*.weights": Branch().weights,
    "branch_kinds.*.train": Branch().train,
    "branch_kinds.*.objective": Branch().objective,
}


def rows(path: str) -> Iterator[tuple[str, str, list[str]]]:
    """(Section, first cell of the table's header, cells) of each row of a document's tables."""
    section = header = ""
    for line in (ROOT / path).read_text().splitlines():
        if line.startswith("#"):
            section = line.strip("# ")
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            header = ""
        elif not header:
            header = cells[0] or "-"
        elif not set(cells[0]) <= {"-"} or cells[0] == "":
            yield section, header, cells


def schema_of(key: str) -> tuple[dict, bool]:
    """The schema of a key such as `trunks[].model` or `curricula.*.epochs`, and if it must be."""
    here, required = SCHEMA, False
    for part in key.replace("[]", ".[]").split("."):
        if part == "[]":
            here = here["items"]
        elif part == "*" and "additionalProperties" in here and "properties" not in here:
            here = here["additionalProperties"]
        elif part == "*":  # of figures: any of them
            here = next(iter(here["properties"].values()))
        else:
            required, here = part in here.get("required", []), here["properties"][part]
    return here, required


def keys(schema: dict, path: str = "") -> Iterator[str]:
    """All keys of a schema that hold a value."""
    if "properties" in schema:
        for name, below in schema["properties"].items():
            yield from keys(below, f"{path}.{name}".lstrip("."))
    elif isinstance(schema.get("additionalProperties"), dict):
        yield from keys(schema["additionalProperties"], f"{path}.*")
    elif schema.get("items", {}).get("properties"):
        yield from keys(schema["items"], f"{path}[]")
    else:
        yield path


def described() -> dict[str, tuple[str, str]]:
    """Every key of config/README.md, with its default and meaning, but those of single figures."""
    prefixes = {
        "key in `trunks`": "trunks[].",
        "key in `branches`": "branches[].",
        "key in `branch_kinds`": "branch_kinds.*.",
        "key in `models`": "models.*.",
        "key in `inferences`": "inferences.*.",
        "key in `rankings`": "rankings.*.",
        "key in `searches`": "searches.*.",
        "key in `rewinds`": "rewinds.*.",
        "key in `objectives`": "objectives.*.",
        "key in `exports`": "exports[].",
    }
    by_section = {"Data sets": "datasets.*.", "Curricula": "curricula.*."}
    return {
        prefixes.get(header, by_section.get(section, "")) + key: (default, meaning)
        for section, header, (names, default, meaning) in map(_padded, rows("config/README.md"))
        if header.startswith("key") and not names.startswith("`figures")
        for key in re.findall(r"`([^`]+)`", names)
    }


def _padded(row: tuple) -> tuple:
    section, header, cells = row
    return section, header, [*cells, "", ""][:3]


def test_every_key_is_described() -> None:
    known = {key for key in keys(SCHEMA) if not key.startswith("figures")}
    assert set(described()) == known


@pytest.mark.parametrize("key", described())
def test_defaults_are_those_of_the_schema(key: str) -> None:
    default, meaning = described()[key]
    schema, required = schema_of(key)
    if default.startswith("required"):
        assert required or key == "datasets.*.root"
        return
    assert not required
    expected = NOT_IN_SCHEMA.get(key, schema.get("default", OPEN))
    if expected is OPEN:
        assert not re.fullmatch(r"`.*`|[\d.]+", default), f"{key} has no default"
    else:
        assert yaml.safe_load(default.strip("`")) == expected
    for value in schema.get("enum", []):
        if key not in ("claims.statistic", "claims.scorer"):  # described elsewhere
            assert f"`{value}`" in default + meaning


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("trunks[].model", MODELS),
        ("trunks[].scorer", SCORERS),
        ("trunks[].rewind", REWINDS),
        ("trunks[].search", SEARCHES),
        ("trunks[].ranking", RANKINGS),
        ("trunks[].pattern", PATTERNS),
        ("rankings.*.kind", RANKINGS),
        ("branches[].branch", BRANCHES),
        ("datasets.*.source", SOURCES),
        ("branch_kinds.*.mask", MASKS),
        ("branch_kinds.*.weights", WEIGHTS),
        ("inferences.*.kind", KINDS),
        ("searches.*.kind", SEARCHES),
        ("rewinds.*.kind", REWINDS),
        ("objectives.*.kind", OBJECTIVES),
        ("branch_kinds.*.objective", OBJECTIVES),
        ("exports[].formats", FORMATS),
    ],
)
def test_values_are_those_that_there_are(key: str, values) -> None:
    assert set(values) <= set(re.findall(r"`(\w+)`", described()[key][1]))


def every_default(options: type) -> dict[str, object]:
    """The defaults of a class of options, those that are None too."""
    return {field.name: field.default for field in fields(options)}


def options_told(header: str) -> dict[tuple[str, str], object]:
    """The defaults of options in a table of config/README.md, by kind and option."""
    return {
        (kind, cells[0].strip("`")): yaml.safe_load(cells[2].strip("`").replace("none", "null"))
        for _, first, cells in rows("config/README.md")
        if first == header
        for kind in re.findall(r"`(\w+)`", cells[1])
    }


@pytest.mark.parametrize(
    ("header", "registry", "document"),
    [
        ("option of a search", SEARCHES, "docs/ways.md"),
        # The options of `bayesian` are a section of their own, which has those of any posterior.
        (
            "option of an inference",
            {
                name: kind
                for name, kind in KINDS.items()
                if kind.options not in (Nothing, Variational)
            },
            "docs/montecarlo.md",
        ),
    ],
)
def test_options_are_described_with_their_defaults(header, registry, document) -> None:
    assert options_told(header) == {
        (name, option): default
        for name, entry in registry.items()
        for option, default in every_default(entry.options).items()
        if not (issubclass(entry.options, Posterior) and option in every_default(Posterior))
    }
    described = (ROOT / document).read_text()
    assert all(f"| `{name}` |" in described for name in registry)


PAPER = yaml.safe_load((ROOT / "config/cifar10.yaml").read_text())
FIDELITY = {
    cells[0]: cells for _, header, cells in rows("docs/fidelity.md") if header == "question"
}


@pytest.mark.parametrize(
    ("question", "says", "key"),
    [
        ("Batch size", r"^(\d+)\.", "curricula.paper.batch_size"),
        ("MACE", r"bins \((\d+)\)", "evaluation.bins"),
        ("Predictions", r"softmax, (\d+) samples", "evaluation.samples"),
        ("Predictions", r"from (\d+) repeated", "evaluation.passes"),
        ("Validation images", r"`cifar10.yaml` holds out ([\d.]+)", "datasets.cifar10.validation"),
        ("Augmentation", r"padded by (\d+) black pixels", "datasets.cifar10.augment.crop"),
        ("Sigma at the start", r"that is ([\d.]+)/sqrt\(fan_in\)", "bayesian.initial_std"),
        ("The prior", r"N\(0, (\d+)\)", "bayesian.prior_std"),
    ],
)
def test_the_papers_configuration_is_as_fidelity_says(question: str, says: str, key: str) -> None:
    value = PAPER
    for part in key.split("."):
        value = value[part]
    assert float(re.search(says, FIDELITY[question][1])[1]) == value


@pytest.mark.parametrize("question", FIDELITY)
def test_the_keys_that_fidelity_names_exist(question: str) -> None:
    for key in re.findall(r"`([^`]+)`", FIDELITY[question][2]):
        schema_of(key)


def test_the_tests_that_fidelity_names_exist() -> None:
    there = "\n".join(path.read_text() for path in ROOT.glob("tests/*/test_*.py"))
    named = re.findall(r"`(test_\w+)", (ROOT / "docs/fidelity.md").read_text())
    assert named
    assert all(f"def {name}(" in there for name in named)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_files_that_a_document_names_exist(path: Path) -> None:
    text = path.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
    folders = "benchmarks|config|docs|profiles|scripts|src|tests|workflow"
    named = re.findall(rf"`((?:{folders})/[\w./-]+)", text)
    absent = {"profiles/default"}  # of a user; docs/slurm.md warns of it
    assert [name for name in named if not (ROOT / name).exists() and name not in absent] == []
