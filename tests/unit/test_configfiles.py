"""Files that hold a configuration: what slips in them are refused, and in which words."""

import datetime

import pytest
import yaml

from bayesian_lottery.errors import InputError
from bayesian_lottery.study import configfiles


def refusal(tmp_path, content: bytes | str) -> str:
    path = tmp_path / "study.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as refused:
        configfiles.read(path)
    sentence = str(refused.value)
    assert sentence.startswith(str(path)) and sentence.isprintable() and len(sentence) < 600
    return sentence


def test_a_file_is_read_as_yaml_or_json(tmp_path):
    (tmp_path / "a.yaml").write_text("x: {y: [1, é]}\n", encoding="utf-8")
    (tmp_path / "a.json").write_text('{\n\t"x": {"y": [1, "é"]}\n}\n', encoding="utf-8")
    for name in ("a.yaml", "a.json"):
        assert configfiles.read(tmp_path / name) == {"x": {"y": [1, "é"]}}


def test_anchors_and_merge_keys_are_read(tmp_path):
    text = "a: &a {x: 1, y: 2}\nb: &b {z: 3}\nc: {<<: *a, <<: *b, x: 4}\nd: *a\n"
    (tmp_path / "a.yaml").write_text(text)
    content = configfiles.read(tmp_path / "a.yaml")
    assert content["c"] == {"x": 4, "y": 2, "z": 3} and content["d"] == content["a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", ", line 3: the key 'a' is in line 1 already"),
        ("x:\n  - {a: 1}\n  - a: 1\n    'a': 2\n", ", line 4: the key 'a' is in line 3 already"),
        ("x: &x {a: 1, a: 2}\ny: *x\n", ", line 1: the key 'a' is in line 1 already"),
        ('{"a": 1,\n "a": 2}', ", line 2: the key 'a' is in line 1 already"),
    ],
)
def test_a_key_that_is_written_twice_is_named_with_its_line(tmp_path, text, words):
    assert words in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: 1\n".encode("utf-16"), "not UTF-8 text; save it in that encoding."),
        (b"a: \xff\n", "not UTF-8 text"),
        ("a: [1\nb: 2\n", "line 2"),
        ("a:\n\t- 1\n", "line 2"),
        ("[1, 2]\n", "with keys at top level"),
        ("", "with keys at top level"),
        ("a: !!python/object:x.y {}\n", "could not determine a constructor"),
        (f"a: {'9' * 5000}\n", "Exceeds the limit"),
        (f"a: 0x{'9' * 5000}\n", "a: a number of 6021 digits is too large; whole numbers are"),
        (f"a: {'[' * 5000}{']' * 5000}\n", "nested too deeply"),
        (f"a: {'[' * 100}{']' * 100}\n", "a entry 1 entry 1: a configuration has at most 10000"),
        ("a: &a [*a]\n", "a configuration has at most 10000 values, and 20 lists and mappings"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path, content, words):
    assert words in refusal(tmp_path, content)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a: [{seeds: [0, 010]}]",
            ", line 1: a entry 1.seeds entry 2: YAML reads 010 as 8, in bas",
        ),
        (
            "a:\n  epochs: 1:40",
            ", line 2: a.epochs: YAML reads 1:40 as 100, in base 60; write it i",
        ),
        ("a: -1:40.5", "a: YAML reads -1:40.5 as -100.5, in base 60"),
        ("a: &x +0_7\nb: *x", "a: YAML reads +0_7 as 7, in base 8"),
    ],
)
def test_a_number_of_another_base_than_it_seems_is_refused(tmp_path, text, words):
    assert words in refusal(tmp_path, text)


def test_other_ways_to_write_numbers_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [0, 0.5, -1, 1_000, 0x1f, '010', '1:40', 08, 00.5]\n")
    read = configfiles.read(tmp_path / "a.yaml")["a"]
    assert read == [0, 0.5, -1, 1000, 31, "010", "1:40", "08", 0.5]


def test_aliases_that_stand_for_a_thousand_million_values_are_refused_at_once(tmp_path):
    lines = ["b0: &b0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "a configuration has at most 10000 values" in refusal(tmp_path, "\n".join(lines))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such file; start in the folder"):
        configfiles.read(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match=": a folder; a configuration is a YAML or JSON file"):
        configfiles.read(tmp_path)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"datasets": {2024: {}}}, "datasets: YAML reads the key 2024 as a number; a key is text,"),
        ({"curricula": {None: {}}}, "curricula: YAML reads the key None as null; a key is text,"),
        ({"a": [{True: 1}]}, "a entry 1: YAML reads the key True as true or false; a key"),
        ({10**9999: 1}, "the configuration: YAML reads the key a number of 10000 digits as a num"),
        ({"a": datetime.date(2024, 1, 1)}, "a: YAML reads datetime.date(2024, 1, 1) as a date,"),
        ({"a": b"x"}, "a: YAML reads b'x' as a bytes, which no key takes; put it in quotes"),
        ({"a": 2**63}, "a: 9223372036854775808 is too large; whole numbers are of"),
        ({"a": [1, -(2**63)]}, "a entry 2: -9223372036854775808 is too large"),
        ({"a": 10**399}, "a: a number of 400 digits is too large"),
        ({"a": "x\n"}, r"a: 'x\n' holds '\n'; a text is one line of characters"),
        ({"a": "x\0"}, r"a: 'x\x00' holds '\x00'"),
        ({"a": "\ud800"}, r"a: '\ud800' holds '\ud800'"),
        ({"a\nb": 1}, r"'a\nb': 'a\nb' holds '\n'"),
        ({"a": "x" * 501}, "a: a text of 501 characters; 500 are the most."),
    ],
)
def test_what_no_key_takes_is_refused_where_it_is(value, sentence):
    with pytest.raises(InputError) as refused:
        configfiles.check_plain(value)
    assert sentence in str(refused.value) and str(refused.value).isprintable()


def test_what_json_has_is_plain():
    configfiles.check_plain(yaml.safe_load("{a: [1, 0.5, .nan, true, null, é, {b: {}}]}"))
    configfiles.check_plain({"a": 2**63 - 1, "b": "x" * 500, "c": [0] * 9000})
