"""Hypothesis strategies of configurations: from the schema, with whatever else a file may hold.

A configuration starts as a small study that is right. Then some of its places, and places that the
schema knows besides, take other values: such as the schema allows, or hostile ones.
"""

import copy
import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from hypothesis import strategies as st
from vocabulary import NAMES, NUMBERS, SCHEMA, STUDY, TEXTS, WORDS


@dataclass
class Document:
    """A configuration as a user would give it: a file's text, and what `--config` takes.

    `damaged` is true of a text that is more than YAML's own spelling of a configuration.
    """

    content: bytes
    overrides: list[str] = field(default_factory=list)
    damaged: bool = False


def hostile() -> st.SearchStrategy:
    """Values of every kind that YAML knows, most of them where they do not belong."""
    plain = st.one_of(
        st.sampled_from(TEXTS),
        st.sampled_from(NUMBERS),
        st.text(max_size=20),
        st.floats(),
        st.integers(),
        st.sampled_from([None, True, False, datetime.date(2024, 1, 1), b"x", {"a"}]),
    )
    keys = st.one_of(st.sampled_from(NAMES), st.sampled_from([None, 2024, 1.5, True, "{x}"]))
    deep = st.integers(1, 60).map(_nested)
    mappings = st.dictionaries(keys, plain, max_size=3)
    return st.one_of(plain, st.lists(plain, max_size=4), mappings, deep)


def _nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def allowed(schema: dict, key: str = "") -> st.SearchStrategy:
    """Values that the part `schema` of the schema, of the property `key`, allows."""
    schema = _resolved(schema)
    if "anyOf" in schema:
        return st.one_of([allowed(part, key) for part in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([_OF_TYPE[name](schema, key) for name in types])


def _resolved(schema: dict) -> dict:
    name = schema.get("$ref", "").rpartition("/")[2]
    return {**SCHEMA["$defs"].get(name, {}), **schema}


def _integers(schema: dict, key: str) -> st.SearchStrategy:
    low, high = schema.get("minimum", 0), schema.get("maximum", 2**63 - 1)
    return st.one_of(st.integers(low, min(low + 9, high)), st.integers(low, high), st.just(high))


def _numbers(schema: dict, key: str) -> st.SearchStrategy:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    return st.floats(
        low,
        high,
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema,
        allow_nan=False,
        allow_infinity=False,
    )


def _strings(schema: dict, key: str) -> st.SearchStrategy:
    return st.sampled_from(WORDS[key]) if key in WORDS else st.sampled_from([*TEXTS, *NAMES])


def _arrays(schema: dict, key: str) -> st.SearchStrategy:
    items = allowed(schema["items"], key)
    if schema.get("uniqueItems"):
        return st.lists(items, min_size=schema.get("minItems", 0), max_size=5, unique_by=str)
    return st.lists(items, min_size=schema.get("minItems", 0), max_size=5)


def _objects(schema: dict, key: str) -> st.SearchStrategy:
    if isinstance(schema.get("additionalProperties"), dict):  # names of the user's own
        values = allowed(schema["additionalProperties"])
        return st.dictionaries(st.sampled_from(NAMES[:7]), values, min_size=1, max_size=2)
    properties = {name: allowed(part, name) for name, part in schema.get("properties", {}).items()}
    required = schema.get("required", [])
    optional = {name: part for name, part in properties.items() if name not in required}
    return st.fixed_dictionaries({name: properties[name] for name in required}, optional=optional)


_OF_TYPE = {
    "array": _arrays,
    "boolean": lambda schema, key: st.booleans(),
    "integer": _integers,
    "null": lambda schema, key: st.none(),
    "number": _numbers,
    "object": _objects,
    "string": _strings,
}


def places(value: object, schema: dict, steps: tuple = ()) -> Iterator[tuple[tuple, dict]]:
    """The places of `value`, and those that its mappings lack, each with its part of the schema."""
    schema = _resolved(schema)
    yield steps, schema
    if isinstance(value, dict):
        named = schema.get("additionalProperties")
        for name, part in schema.get("properties", {}).items():
            yield from places(value.get(name), part, (*steps, name))
        for name in value if isinstance(named, dict) else ():
            yield from places(value[name], named, (*steps, name))
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from places(item, schema["items"], (*steps, index))


@st.composite
def configurations(draw) -> dict:
    """The study with up to four changes, most often one."""
    config = copy.deepcopy(STUDY)
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3, 4]))):
        (*parents, last), schema = draw(st.sampled_from([*places(config, SCHEMA)][1:]))
        holder = config
        for step in parents:
            if isinstance(holder, dict) and not isinstance(holder.get(step), dict | list):
                holder[step] = {}  # a section that the configuration lacks, or lacks by now
            holder = holder[step]
        draw(st.sampled_from([_allow, _allow, _allow, _harm, _drop, _misspell]))(
            draw, holder, last, schema
        )
    return config


def _allow(draw, holder: dict | list, key: str | int, schema: dict) -> None:
    holder[key] = draw(allowed(schema, str(key)))


def _harm(draw, holder: dict | list, key: str | int, schema: dict) -> None:
    holder[key] = draw(hostile())


def _drop(draw, holder: dict | list, key: str | int, schema: dict) -> None:
    if isinstance(holder, list) or key in holder:
        del holder[key]


def _misspell(draw, holder: dict | list, key: str | int, schema: dict) -> None:
    if isinstance(holder, dict):
        holder[draw(st.sampled_from([f"{key}s", "x" * 5000, *NAMES]))] = holder.get(key)


@st.composite
def documents(draw) -> Document:
    """A configuration as text, at times spoiled as text, at times with values of `--config`."""
    text = yaml.safe_dump(draw(configurations()), allow_unicode=draw(st.booleans()))
    overrides = draw(_overrides()) if draw(_one_in(6)) else []
    spoil = draw(st.sampled_from(SPOILERS)) if draw(_one_in(10)) else None
    if spoil is None:
        return Document(text.encode("utf-8", "surrogatepass"), overrides)
    return Document(spoil(text), overrides, damaged=True)


def _one_in(number: int) -> st.SearchStrategy[bool]:
    return st.integers(1, number).map(lambda drawn: drawn == number)


def _overrides() -> st.SearchStrategy:
    """Values of `--config`, but for those on which Snakemake's own reading fails."""
    texts = [text for text in TEXTS if text.strip() and text[0] not in "#\0\ud800"]
    keys = st.sampled_from([*SCHEMA["properties"], "trunk"])
    values = st.one_of(st.sampled_from(texts), st.sampled_from(NUMBERS).map(str))
    return st.lists(st.builds("{}={}".format, keys, values), min_size=1, max_size=2)


def _repeated(text: str) -> bytes:
    """With its first line once more."""
    lines = text.splitlines(keepends=True)
    return "".join([*lines, "trunks: []\n"]).encode("utf-8", "surrogatepass")


SPOILERS = [
    _repeated,
    lambda text: text.encode("utf-16", "surrogatepass"),
    lambda text: text.encode("utf-8", "surrogatepass") + b"\xff",
    lambda text: text.encode("utf-8", "surrogatepass")[: len(text) // 2],
    lambda text: text.replace("  ", "\t").encode("utf-8", "surrogatepass"),
    lambda text: text.encode("utf-8", "surrogatepass") + b"results: " + b"9" * 5000 + b"\n",
    lambda text: text.encode("utf-8", "surrogatepass") + b"results: 0x" + b"9" * 5000 + b"\n",
    lambda text: text.encode("utf-8", "surrogatepass") + b"results: " + b"[" * 3000 + b"]" * 3000,
    lambda text: text.encode("utf-8", "surrogatepass") + b"results: &r [*r]\n",
    lambda text: text.encode("utf-8", "surrogatepass") + _bomb(),
    lambda text: text.encode("utf-8", "surrogatepass") + b"results: !!python/object:x.y {}\n",
    lambda text: b"[1, 2]\n",
    lambda text: b"",
]


def _bomb() -> bytes:
    """Aliases that stand for ten to the ninth values."""
    lines = ["b0: &b0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join([*lines, ""]).encode()
