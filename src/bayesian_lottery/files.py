"""Files that are either whole or absent: atomic writing, checked reading, no pickles."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bayesian_lottery.errors import InputError


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it to `path`.

    A reader sees the old file or the new one, never a part. On an exception the temporary file
    goes and `path` is untouched.
    """
    path = Path(path)
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


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text)


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as indented JSON to `path`, atomically.

    Raises:
        ValueError: `value` holds NaN or infinity, which JSON cannot say.
    """
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> dict:
    """Read a JSON file; an `InputError` names one that is missing, truncated or not JSON."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a complete JSON file ({error}).") from None


def write_tensors(path: str | Path, tensors: dict, metadata: dict | None = None) -> None:
    """Write torch tensors as safetensors, atomically, with bytes that depend on the content alone.

    `metadata` is any JSON value, kept under the single key "json": safetensors keeps its metadata
    in a hash map, whose order would otherwise change from run to run.
    """
    import torch  # here, so that reading JSON does not cost torch's import
    from safetensors.torch import save_file

    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if len({tensor.untyped_storage().data_ptr() for tensor in ready.values()}) < len(ready):
        ready = {name: torch.clone(tensor) for name, tensor in ready.items()}
    with atomic(path) as temporary:
        save_file(ready, temporary, metadata={"json": json.dumps(metadata or {})})


def read_tensors(path: str | Path, device: str = "cpu") -> tuple[dict, dict]:
    """Read a safetensors file as (torch tensors, metadata).

    Raises:
        InputError: the file is missing, truncated or not safetensors.
    """
    return _read_safetensors(path, "pt", str(device))


def read_arrays(path: str | Path) -> tuple[dict, dict]:
    """`read_tensors`, as numpy arrays and without torch."""
    return _read_safetensors(path, "numpy", "cpu")


def _read_safetensors(path: str | Path, framework: str, device: str) -> tuple[dict, dict]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework=framework, device=device) as file:
            metadata = json.loads((file.metadata() or {}).get("json", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: truncated or not a safetensors file ({error}).") from None
