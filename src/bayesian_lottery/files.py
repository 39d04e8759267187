"""Files that are either whole or absent: atomic writing, checked reading, no pickles.

JSON and safetensors files carry a checksum (SHA-256) of their content, which reading verifies, so
that damage is noticed that leaves the format intact. Files without one, from before there were
checksums, are accepted.
"""

import contextlib
import hashlib
import json
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bayesian_lottery.errors import InputError

LARGE = 2 * 10**9  # bytes of a file that takes seconds to read through


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it to `path`.

    A reader sees the old file or the new one, never a part. On an exception the temporary file
    goes and `path` is untouched.

    Raises:
        InputError: the system refuses, such as on a full or read-only disk.
    """
    path = Path(path)
    try:
        with _temporary(path) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}).") from None


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class Damaged(InputError):
    """A file is there and no good: its name, what is wrong with it (`fault`), and the remedy."""

    def __init__(self, path: str | Path, fault: str):
        self.fault = fault
        command = f"`rm {shlex.quote(str(path))}`"
        remedy = f"; if the workflow made it, {command}, and the same command makes it again"
        super().__init__(f"{path}: {fault}{remedy if Path(path).is_file() else ''}.")


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text)


def write_json(path: str | Path, value: dict) -> None:
    """Write `value` as indented JSON to `path`, atomically, and its checksum as a last key.

    Raises:
        ValueError: `value` holds NaN or infinity, which JSON cannot say.
    """
    whole = {**value, "checksum": _checksum_of_json(value)}
    write_text(path, json.dumps(whole, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> dict:
    """Read what `write_json` wrote, without the checksum.

    Raises:
        InputError: the file is missing, cannot be read, is truncated, or not what was written
            (`Damaged`).
    """
    try:
        value = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:  # JSON's and UTF-8's errors are ValueErrors
        raise Damaged(path, f"not a complete JSON file ({error})") from None
    if isinstance(value, dict) and "checksum" in value:
        _verify(path, value.pop("checksum"), _checksum_of_json(value))
    return value


def _checksum_of_json(value: dict) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_tensors(path: str | Path, tensors: dict, metadata: object = None) -> None:
    """Write torch tensors as safetensors, atomically, with bytes that depend on the content alone.

    `metadata` is any JSON value. It and the checksum are kept under the single key "json":
    safetensors keeps its metadata in a hash map, whose order would change from run to run.
    """
    import torch  # here, so that reading JSON does not cost torch's import
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if len({tensor.untyped_storage().data_ptr() for tensor in ready.values()}) < len(ready):
        ready = {name: torch.clone(tensor) for name, tensor in ready.items()}
    content = {} if metadata is None else metadata
    text = json.dumps({"checksum": _checksum(ready, content), "content": content})
    with atomic(path) as temporary:
        try:
            save_file(ready, temporary, metadata={"json": text})
        except SafetensorError as error:
            raise OSError(str(error).rpartition("error: ")[2]) from None


def read_tensors(
    path: str | Path, device: object = "cpu", verified: bool = False
) -> tuple[dict, dict]:
    """Read a safetensors file as (torch tensors on `device`, metadata).

    Args:
        path: the file.
        device: where to. On the CPU nothing is copied: tensors are parts of the mapped file.
        verified: whether the checksum of this file has been verified before, so that it need not be
            now. Its format always is, and with it its length.

    Raises:
        InputError: the file is missing, cannot be read, is truncated, not safetensors, or not what
            was written (`Damaged`).
    """
    tensors, metadata = _read_safetensors(path, "pt", verified)
    return {name: tensor.to(device) for name, tensor in tensors.items()}, metadata


def read_arrays(path: str | Path) -> tuple[dict, dict]:
    """`read_tensors`, as numpy arrays and without torch."""
    return _read_safetensors(path, "numpy", verified=False)


def read_shapes(path: str | Path) -> tuple[dict[str, list[int]], dict]:
    """The tensors' shapes and the metadata of a safetensors file, of which no more is read.

    Raises:
        InputError: as for `read_tensors`, but what is not read is not verified.
    """
    with _opened(path, "numpy") as (file, content):
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return shapes, content.get("content") if _has_checksum(content) else content


def is_large(path: str | Path) -> bool:
    """Whether a file is there and so large that reading all of it in every job takes too long."""
    try:
        return os.stat(path).st_size > LARGE
    except OSError:
        return False


def digest(path: str | Path) -> bytes:
    """SHA-256 of a file's content; of a large safetensors file of its header, checksum included."""
    with open(path, "rb") as file:
        if is_large(path) and b'\\"checksum\\": ' in (header := _header(file)):
            return hashlib.sha256(header).digest()
        file.seek(0)
        return hashlib.file_digest(file, "sha256").digest()


def _header(file: BinaryIO) -> bytes:
    """The header of a safetensors file, which begins with its length; at most 100 MB, as there."""
    return file.read(min(int.from_bytes(file.read(8), "little"), 100_000_000))


def _read_safetensors(path: str | Path, framework: str, verified: bool) -> tuple[dict, dict]:
    with _opened(path, framework) as (file, content):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if not _has_checksum(content):
        return tensors, content
    checksum, content = content.get("checksum"), content.get("content")
    if not verified:
        _verify(path, checksum, _checksum(tensors, content))
    return tensors, content


@contextlib.contextmanager
def _opened(path: str | Path, framework: str) -> Iterator[tuple]:
    """An open safetensors file and what lies under its key "json"."""
    from safetensors import SafetensorError, safe_open

    if Path(path).exists() and not Path(path).is_file():
        raise Damaged(path, "not a file")
    try:
        with safe_open(str(path), framework=framework, device="cpu") as file:
            metadata = file.metadata()
            yield file, json.loads(metadata["json"]) if metadata else {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise Damaged(path, f"truncated or not a safetensors file ({error})") from None


def _has_checksum(content: object) -> bool:
    """Whether a file is of today's format, of two keys; else it is from before."""
    return isinstance(content, dict) and not {"checksum", "content"}.isdisjoint(content)


def _verify(path: str | Path, checksum: object, expected: str) -> None:
    if checksum != expected:
        raise Damaged(path, "damaged (its checksum is that of another content)")


def _checksum(tensors: dict, metadata: object) -> str:
    """Of torch tensors on the CPU or numpy arrays: their names, types, shapes and values."""
    digest = hashlib.sha256(json.dumps(metadata).encode())
    for name, tensor in sorted(tensors.items()):
        dtype = str(tensor.dtype).removeprefix("torch.")
        digest.update(json.dumps([name, dtype, list(tensor.shape)]).encode())
        digest.update(_buffer(tensor))
    return digest.hexdigest()


def _buffer(tensor):
    """The values as hashlib takes them: a torch tensor's through numpy, as bytes."""
    if hasattr(tensor, "numpy"):
        import torch

        return tensor.reshape(-1).view(torch.uint8).numpy()  # numpy does not know all types
    return tensor
