"""Configuration files, read as Snakemake reads them, but without letting slips pass.

Of a key that is written twice Snakemake silently takes the second, and what it cannot read ends in
a traceback. The Snakefile imports this module; it needs no torch.
"""

import contextlib
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import yaml

from bayesian_lottery.errors import InputError, short

LARGEST = 2**63 - 1  # of the whole numbers
LONGEST = 500  # characters of a text, which may be a path
DEEPEST = 20  # mappings and lists inside one another; the schema has five
MOST = 10_000  # values in all; the paper's study has two hundred

_MERGE = "tag:yaml.org,2002:merge"
# What YAML 1.1 has and nobody means: 010 is 8, and 1:40 is 100.
_OTHER_BASES = re.compile(r"[-+]?(0[0-7_]+|[0-9_]+(:[0-9]+)+(\.[0-9_]*)?)")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read(path: str | Path) -> dict:
    """The content of a YAML or JSON file, as Snakemake reads it.

    Raises:
        InputError: the file is missing or unreadable, a mapping has a key twice, a number is of
            another base than it seems, or the content is not plain (see `check_plain`).
    """
    from snakemake.common.configfile import load_configfile
    from snakemake.exceptions import WorkflowError

    try:
        if Path(path).is_dir():
            raise InputError(f"{path}: a folder; a configuration is a YAML or JSON file.")
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file; start in the folder that Snakemake runs in.")
        text = Path(path).read_text(encoding="utf-8")
        with contextlib.suppress(yaml.YAMLError):  # it may be JSON with tabs
            _check_nodes(path, yaml.compose(text))
        content = load_configfile(str(path))
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; save it in that encoding.") from None
    except RecursionError:
        raise InputError(f"{path}: lists or mappings are nested too deeply.") from None
    except (OSError, ValueError, WorkflowError) as error:
        reason = " ".join(str(error.__context__ or error).split())  # YAML's names the line
        raise InputError(f"{path}: {reason[:400].rstrip('.')}.") from None
    try:
        check_plain(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return content


def _check_nodes(path: str | Path, root: yaml.Node | None) -> None:
    """Refuse a key that one mapping of the document has twice, and numbers of other bases."""
    left: list[tuple[tuple, yaml.Node | None]] = [((), root)]
    seen = set()  # aliases lead to a node again
    while left:
        steps, node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        inside: list[tuple[tuple, yaml.Node]] = []
        if isinstance(node, yaml.SequenceNode):
            inside = [((*steps, index), item) for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            inside = [((*steps, str(key.value)), value) for key, value in node.value]
            _check_mapping(path, [key for key, _ in node.value])
        elif isinstance(node, yaml.ScalarNode):
            _check_number(path, steps, node)
        left += reversed(inside)  # so that an anchor comes before its aliases, by its own key


def _check_number(path: str | Path, steps: tuple, node: yaml.ScalarNode) -> None:
    if node.tag in _NUMBERS and _OTHER_BASES.fullmatch(node.value):
        raise InputError(
            f"{path}, line {node.start_mark.line + 1}: {place(steps)}: YAML reads "
            f"{_cut(node.value)} as {_shown(yaml.safe_load(node.value))}, in base "
            f"{60 if ':' in node.value else 8}; write it in base 10, or in quotes if it is text."
        )


def _check_mapping(path: str | Path, keys: Iterable[yaml.Node]) -> None:
    lines: dict[str, int] = {}
    for key in keys:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            raise InputError(
                f"{path}, line {line}: the key {short(key.value)} is in line {lines[key.value]} "
                "already; of two only the last would count."
            )
        lines[key.value] = line


def check_plain(config: Mapping) -> None:
    """Check that the configuration is made of what JSON has too, and of no more than fits.

    Raises:
        InputError: names the first place where it is otherwise.
    """
    for count, (steps, value) in enumerate(_values(config)):
        if count > MOST or len(steps) > DEEPEST:
            raise InputError(
                f"{place(steps[:3])}: a configuration has at most {MOST} values, and {DEEPEST} "
                "lists and mappings inside one another; aliases count as what they stand for."
            )
        for key in value if isinstance(value, Mapping) else []:
            if not isinstance(key, str):
                raise InputError(
                    f"{place(steps)}: YAML reads the key {_shown(key)} as {_kind(key)}; a key is "
                    "text, so put it in quotes."
                )
            _check_value((*steps, key), key)
        _check_value(steps, value)


def _values(value: object, steps: tuple = ()) -> Iterator[tuple[tuple, object]]:
    """The value and all values inside it, each with the keys and indices that lead to it."""
    yield steps, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _values(item, (*steps, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _values(item, (*steps, index))


def _check_value(steps: tuple, value: object) -> None:
    if isinstance(value, str):
        odd = [c for c in value if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
        if odd:
            raise InputError(
                f"{place(steps)}: {short(value)} holds {odd[0]!r}; a text is one line of "
                "characters that can be printed."
            )
        if len(value) > LONGEST:
            raise InputError(
                f"{place(steps)}: a text of {len(value)} characters; {LONGEST} are the most."
            )
    elif isinstance(value, int) and abs(value) > LARGEST:
        raise InputError(
            f"{place(steps)}: {_shown(value)} is too large; whole numbers are of 63 bits, up to "
            f"{LARGEST}, for the tables hold no larger ones."
        )
    elif not isinstance(value, Mapping | list | int | float | None):
        raise InputError(
            f"{place(steps)}: YAML reads {_shown(value)} as {_kind(value)}, which no key takes; "
            "put it in quotes if it is text."
        )


def place(steps: Iterable) -> str:
    """Where in the configuration `steps` lead, in words: `trunks entry 1.seeds entry 2`."""
    words = (f" entry {k + 1}" if isinstance(k, int) else f".{_cut(k)}" for k in steps)
    return "".join(words).lstrip(".") or "the configuration"


def _cut(key: str) -> str:
    return key if len(key) <= 100 and key.isprintable() else short(key)


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) > LARGEST**2:  # Python may refuse to print it
        return f"a number of {int(value.bit_length() * math.log10(2)) + 1} digits"
    return short(value)


def _kind(value: object) -> str:
    kinds = {int: "a number", float: "a number", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")
