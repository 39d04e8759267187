"""The visible images of a folder or a tar archive, one after the other."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from bayesian_lottery.errors import InputError, few

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
Unpacked = gzip.GzipFile | IO[bytes]
UNPACKERS: Mapping[str, Callable[[BinaryIO], AbstractContextManager[Unpacked]]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".txz": lzma.open,
}

Parts = tuple[str, ...]  # a path below the root, split at its slashes
File = str | BinaryIO  # a path, which takes less memory than a Path, or the content


def entries(name: str, root: Path) -> Iterator[tuple[Parts, File | None]]:
    """Every folder (with None) and every image (with what Pillow opens) of a folder or archive.

    Says on the way how far it is, and in the end how many files have other endings than images.
    """
    from bayesian_lottery.meter import Meter

    others: Counter[str] = Counter()
    if root.is_dir():
        found = list(_walk(root, others))
        meter = Meter("file", len(found), stream=sys.stderr)
        for done, (parts, path) in enumerate(found):
            meter.show(done)
            yield parts, path
        meter.close()
        _report(name, others)
        return
    try:
        with open(root, "rb") as file:
            meter = Meter("MB", root.stat().st_size // 10**6, stream=sys.stderr)
            for entry in _stream(name, file, others):
                if file.tell() // 10**6 < meter.total:
                    meter.show(file.tell() // 10**6)
                yield entry
            meter.close()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise InputError(
            f"datasets.{name}.root: '{root}' is neither a folder nor a complete .tar, .tar.gz,"
            f" .tar.bz2 or .tar.xz archive ({error})."
        ) from None
    _report(name, others)


def _report(name: str, others: Counter[str]) -> None:
    if others:
        counts = [f"{count} of {ending}" for ending, count in others.most_common()]
        print(
            f"datasets.{name}.root: {others.total()} files are left out, whose endings are not"
            f" those of images: {few(counts)}.",
            file=sys.stderr,
        )


def _walk(root: Path, others: Counter[str]) -> Iterator[tuple[Parts, str | None]]:
    """The visible folders and images of a folder, as deep as a layout can be.

    Counts the endings of all other visible files in `others`.
    """
    for where, folders, names in os.walk(root, followlinks=True):
        above = Path(where).relative_to(root).parts
        folders.sort()
        for folder in folders:
            if _visible((*above, folder)):
                yield (*above, folder), None
        for name in sorted(names):
            if not _visible((*above, name)):
                continue
            if _is_image(name):
                yield (*above, name), os.path.join(where, name)
            else:
                others[_ending(name)] += 1
        if len(above) == 3:
            folders.clear()  # also ends a circle of links


def _stream(
    name: str, file: BinaryIO, others: Counter[str]
) -> Iterator[tuple[Parts, BinaryIO | None]]:
    """The visible folders and images of a tar archive, read once, front to back.

    Counts the endings of all other visible files in `others`.

    tarfile takes a broken header for the end of the archive, and by itself checks no compressor's
    checksum; so the stream is read to its end, where only zeros may follow the last member.
    """
    unpack = UNPACKERS.get(PurePosixPath(file.name).suffix.lower(), contextlib.nullcontext)
    file.seek(max(0, file.seek(0, os.SEEK_END) - 1024))
    end = file.read()
    file.seek(0)
    # A cheap look at the end spares reading gigabytes of a truncated archive.
    if unpack is lzma.open and not end.rstrip(b"\0").endswith(b"YZ"):
        raise EOFError("the end of the xz stream is missing")
    if unpack is contextlib.nullcontext and end.strip(b"\0"):
        raise EOFError("the end of a tar archive is missing")
    with unpack(file) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            parts = PurePosixPath(member.name.lstrip("/")).parts
            if not _visible(parts):
                continue
            if member.isdir():
                yield parts, None
            elif _is_image(parts[-1]):
                if not member.isreg():
                    raise InputError(
                        f"datasets.{name}.root: '{member.name}' in the archive is a link or device;"
                        " pack files with tar --dereference --hard-dereference."
                    )
                yield parts, io.BytesIO(read_member(archive, member))
            else:
                others[_ending(parts[-1])] += 1
        while rest := archive.fileobj.read(1 << 20):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("it is damaged in the middle")


def read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The content of a regular file in an archive."""
    file = archive.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} is no regular file")
    return file.read()


def _visible(parts: Parts) -> bool:
    """Whether to look at a path; macOS adds `.DS_Store`, `._name` and `__MACOSX`."""
    return bool(parts) and not any(part.startswith((".", "__MACOSX")) for part in parts)


def _is_image(name: str) -> bool:
    return _ending(name) in SUFFIXES


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower() or "no ending"
