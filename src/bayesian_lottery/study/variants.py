"""Variants: names that a section of the configuration gives to entries of a registry, with options.

Every entry is a variant by its own name, too.
"""

from collections.abc import Collection, Mapping


def names(config: Mapping, section: str, registry: Collection[str]) -> list[str]:
    """The names of all variants."""
    return list(dict.fromkeys([*registry, *config.get(section, {})]))


def kind_name(config: Mapping, section: str, name: str) -> str:
    """The name of the entry that a variant is of."""
    return config.get(section, {}).get(name, {}).get("kind", name)


def given(config: Mapping, section: str, name: str) -> dict:
    """The options that the section gives a variant."""
    entry = config.get(section, {}).get(name, {})
    return {option: value for option, value in entry.items() if option != "kind"}


def told(config: Mapping, section: str, name: str) -> dict:
    """What a job is told of a variant: its kind and options; nothing where the name says it."""
    kind, options = kind_name(config, section, name), given(config, section, name)
    return {"kind": kind, **options} if options or kind != name else {}
