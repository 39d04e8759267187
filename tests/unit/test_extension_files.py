"""Files that register methods: what is refused, each in a sentence."""

import sys
from pathlib import Path

import pytest

from bayesian_lottery import imports
from bayesian_lottery.errors import InputError
from bayesian_lottery.study import extensions, owners
from bayesian_lottery.tickets.scores import SCORERS


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """What a test registers and imports is gone after it."""
    for registry in extensions.REGISTRIES.values():
        for name, entry in registry.items():
            monkeypatch.setitem(registry, name, entry)
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        if name.startswith("lottery_extension_"):
            del sys.modules[name]
    for registry in extensions.REGISTRIES.values():
        registry.pop("mine", None)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


REGISTERS = """
from bayesian_lottery.tickets.scores import SCORERS, Scorer
SCORERS["mine"] = Scorer(("weight",), lambda w: -w.abs(), "the largest first")
"""


def test_an_entry_is_known_with_its_file_and_imported_once(tmp_path):
    file = write(tmp_path / "mine.py", REGISTERS)
    extensions.load([file])
    entry = SCORERS["mine"]
    extensions.load([str(file)])
    assert SCORERS["mine"] is entry
    assert owners.files_of([("scorer", "mine"), ("scorer", "snr")]) == [str(file)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 / 0", r"bad\.py' fails as it is imported \('ZeroDivisionError: division by zero'\)"),
        ("import sys; sys.exit()", r"bad\.py' fails as it is imported \('SystemExit: '\)"),
        ("def (", r"fails as it is imported \('SyntaxError: "),
        (REGISTERS.replace('"mine"', '"snr"'), r"bad\.py' replaces the scorer 'snr'"),
        (
            "from bayesian_lottery.tickets.scores import SCORERS\nSCORERS['mine'] = lambda w: w",
            r"the scorer 'mine' of '.*bad\.py' is of type function; it must be a Scorer\.",
        ),
        (
            "from bayesian_lottery.tickets.searches import SEARCHES\nSEARCHES['mine'] = 3",
            r"the search 'mine' of '.*bad\.py' is of type int; it must be a Search\.",
        ),
        (
            "from bayesian_lottery.tickets.branches import MASKS\nMASKS['mine'] = 'kept'",
            r"the mask 'mine' of '.*bad\.py' is of type str; it must be a function\.",
        ),
    ],
)
def test_a_file_that_fails_or_replaces_is_refused(tmp_path, text, sentence):
    file = write(tmp_path / "bad.py", text)
    with pytest.raises(InputError, match=sentence) as refused:
        extensions.load([file])
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_a_file_that_fails_fails_again(tmp_path):
    file = write(tmp_path / "bad.py", "raise SystemExit(2)")
    for _ in range(2):
        with pytest.raises(InputError, match="'SystemExit: 2'"):
            extensions.load([file])


def test_a_missing_file_is_refused(tmp_path):
    for name in ("absent.py", "text.txt"):
        with pytest.raises(InputError, match="is not a Python file that is there"):
            extensions.load([tmp_path / name])


def test_two_files_of_one_name_are_refused(tmp_path):
    extensions.load([write(tmp_path / "a/mine.py", "")])
    with pytest.raises(InputError, match=r"two files have the name 'mine\.py'"):
        extensions.load([write(tmp_path / "b/mine.py", "")])


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("nowhere:x", "the module 'nowhere' cannot be imported"),
        ("bayesian_lottery.options:x", "'bayesian_lottery.options' has no 'x'"),
    ],
)
def test_code_that_an_entry_names_and_that_is_not_there_is_refused(code, sentence):
    with pytest.raises(InputError, match=f"^the code '{code}': {sentence}"):
        imports.named(code)
