"""The types of options that several scripts share."""

import argparse
import json
import runpy
import sys
from pathlib import Path

import pytest

from bayesian_lottery import arguments
from bayesian_lottery.study import schema

ROOT = Path(__file__).parents[2]
TASK = {"node": {}, "settings": {}}
FILES = {
    "inputs": {"data": "d", "initial": "i"},
    "outputs": {"metrics": "m", "history": "h", "weights": "w"},
}


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e300", "x", ""])
@pytest.mark.parametrize("kind", [arguments.above_zero, arguments.count])
def test_what_is_no_amount_is_refused(kind, text):
    with pytest.raises(
        argparse.ArgumentTypeError, match=rf"^'{text}' is not allowed; .* 1000000000$"
    ):
        kind(text)


def test_amounts():
    assert (arguments.above_zero("0.5"), arguments.count("50")) == (0.5, 50)


def ended(monkeypatch, script: str, *words: str) -> str | int | None:
    """With what a script ends: its sentence, or its status where argparse has said one."""
    path = str(ROOT / f"scripts/{script}.py")
    monkeypatch.setattr(sys, "argv", [path, *words])
    with pytest.raises(SystemExit) as exited:
        runpy.run_path(path, run_name="__main__")
    return exited.value.code


@pytest.mark.parametrize(
    ("script", "value", "sentence"),
    [
        ("prepare_data", [1], "--settings: [1] is not allowed; it must be a mapping."),
        ("prepare_data", {}, "--settings: the key 'source' is missing."),
        ("prepare_data", {"source": "digits", "no": 1}, "--settings: 'no' is not a key; known"),
        ("prepare_data", {"source": [1]}, "--settings.source: [1] is not allowed; it must be text"),
        ("prepare_data", {"source": "digits", "classes": 3}, "--settings.classes: 3 is not"),
        ("list_metrics", [1], "--study: [1] is not allowed; it must be a mapping."),
        ("list_metrics", {"results": "r"}, "--study: the key 'datasets' is missing."),
        ("overlaps", 3, "--study: 3 is not allowed; it must be a mapping."),
        ("initialise", [1], "--definition: [1] is not allowed; it must be a mapping."),
        ("initialise", {"code": "a:b", "no": 1}, "--definition: 'no' is not a key; known are code"),
        ("count", {}, "--definition: the key 'code' is missing."),
    ],
)
def test_json_of_another_shape_is_refused(monkeypatch, script, value, sentence):
    options = {
        "prepare_data": "--name d --output o --settings",
        "list_metrics": "--study",
        "overlaps": "--table overlaps --parquet p --csv c --study",
        "initialise": "--data d --model m --seed 0 --output o --definition",
        "count": "--data d --dataset n --model m --output o --definition",
    }
    said = ended(monkeypatch, script, *options[script].split(), json.dumps(value))
    assert str(said).startswith(f"error: {sentence}")


def test_a_script_that_was_fetched_alone_takes_what_it_is_given(tmp_path):
    schema.check_study("--study", {}, tmp_path / "config.schema.yaml")
    schema.check_entry("--settings", {}, "datasets", tmp_path / "config.schema.yaml")


@pytest.mark.parametrize(
    ("tasks", "files", "sentence"),
    [
        (3, [FILES], "--tasks: 3 is not allowed; it must be a list of 1 or more entries."),
        ([], [FILES], "--tasks: [] is not allowed; it must be a list of 1 or more entries."),
        ([{"node": {}}], [FILES], "--tasks entry 1: the key 'settings' is missing."),
        ([{**TASK, "no": 1}], [FILES], "--tasks entry 1: 'no' is not a key; did you mean"),
        ([TASK], [], "--files: 0 entries are not allowed; it must be one for each of the 1 tasks."),
        ([TASK], [{}], "--files entry 1: the key 'inputs' is missing."),
        ([TASK], [{**FILES, "inputs": {}}], "--files entry 1.inputs: the key 'data' is missing."),
        ([{**TASK, "rewinding": {}}], [{**FILES, "outputs": {}}], "--files entry 1.outputs: the"),
    ],
)
def test_tasks_of_another_shape_are_refused(monkeypatch, tasks, files, sentence):
    words = "--tasks", json.dumps(tasks), "--files", json.dumps(files)
    assert str(ended(monkeypatch, "train", *words)).startswith(f"error: {sentence}")


@pytest.mark.parametrize("text", ["[1]", "{}", '{"node": 3, "settings": {}}', "{"])
def test_what_is_no_task_is_refused(text):
    with pytest.raises(ValueError):
        arguments.json_task(text)
