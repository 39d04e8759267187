"""Which paths the results can have.

The Snakefile imports this module; it needs no torch.
"""

import os
from pathlib import Path

from bayesian_lottery.errors import InputError, few, short

PROJECT = Path(__file__).resolve().parents[2]  # a clone, where this is one's
OWN = (
    *("src", "scripts", "workflow", "config", "profiles", "slurm", "tests", "docs", "benchmarks"),
    *("published", ".git"),
)


def check_results(results: str) -> None:
    """Refuse a folder that Snakemake, a cluster's command line or the file system cannot take.

    The rules quote every path. Snakemake reads braces and angles as patterns, and what it sends to
    a cluster is quoted by itself, not well.
    """
    special = next((c for c in results if c in "{}<>'\"`$\\"), None)
    if special:
        raise InputError(
            f"results: {short(results)} holds {special}, which has a meaning of its own in "
            "Snakemake or a shell; take letters, digits, spaces or other signs."
        )
    if results.startswith("~"):
        home = os.path.expanduser(results)
        raise InputError(
            f"results: {short(results)} starts with ~, which is not read as a home folder here; "
            f"write the path in full{f', {home}' if home != results else ''}."
        )
    if results.startswith("-") or "://" in results:
        raise InputError(f"results: {short(results)} is not a path of a folder.")
    normal = os.path.normpath(results).replace("//", "/")
    if results in (".", "/") or results != normal:
        raise InputError(
            f"results: {short(results)} is not in the form in which Snakemake takes paths; write "
            f"{'the name of a folder' if normal in ('.', '/') else short(normal)}."
        )
    try:
        _check_folder(results)
    except (OSError, UnicodeEncodeError) as error:
        raise InputError(f"results: {short(results)} cannot be a folder ({error}).") from None


def _check_folder(results: str) -> None:
    """Refuse what the file system has no room for: long names, and files in the way; and folders of
    the project itself."""
    longest = max(len(os.fsencode(name)) for name in Path(results).parts)
    if longest > 200 or len(os.fsencode(results)) > 1000:
        raise InputError(
            f"results: {short(results)} is too long; a folder's name may have 200 bytes, and the "
            "path 1000, for longer ones are built from it."
        )
    above = next(path for path in (Path(results), *Path(results).parents) if path.exists())
    if not above.is_dir():
        raise InputError(f"results: '{above}' is a file; {short(results)} cannot be a folder.")
    place = Path(os.path.realpath(results))
    if any(place.is_relative_to(PROJECT / own) for own in OWN):
        raise InputError(
            f"results: {short(results)} is one of the project's own folders, {few(OWN)}, or in "
            "one; give another, such as 'results'."
        )
