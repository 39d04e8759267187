"""Which file added an entry to a registry, of those that extensions have added."""

from collections.abc import Iterable

_files: dict[tuple[str, str], str] = {}  # by (registry, name)


def add(registry: str, name: str, file: str) -> None:
    """Remember that an extension's `file` added the entry `name` to a registry."""
    _files[registry, name] = file


def files_of(entries: Iterable[tuple[str, str]]) -> list[str]:
    """The files that added some of these entries, given as (registry, name), sorted."""
    return sorted({_files[entry] for entry in entries if entry in _files})
