"""Files of exported networks: safetensors, or ONNX graphs. Neither can hold code; no pickle.

Both carry metadata, a JSON value, and a checksum of their content, which reading verifies.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import Damaged, atomic, write_tensors
from bayesian_lottery.inference.networks import State


def write(path: Path, content: State | bytes, metadata: Mapping) -> None:
    """Write an exported network, atomically."""
    if isinstance(content, bytes):
        write_graph(path, content, metadata)
    else:
        write_tensors(path, content, metadata)


def write_graph(path: Path, content: bytes, metadata: Mapping) -> None:
    """Write an ONNX graph, atomically; its metadata are the graph's property "json"."""
    import onnx

    graph = onnx.load_model_from_string(content)
    del graph.metadata_props[:]
    told = json.dumps({"checksum": _checksum(graph, metadata), "content": metadata})
    onnx.helper.set_model_props(graph, {"json": told})
    with atomic(path) as temporary:
        temporary.write_bytes(_bytes_of(graph))


def read_graph(path: Path) -> tuple[bytes, dict]:
    """The bytes and the metadata of what `write_graph` wrote.

    Raises:
        InputError: the file is missing, cannot be read, is truncated, or not what was written.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        content = path.read_bytes()
        graph = onnx.load_model_from_string(content)
        properties = {each.key: each.value for each in graph.metadata_props}
        told = json.loads(properties["json"])
        del graph.metadata_props[:]
        expected, metadata = told["checksum"], told["content"]
        checksum = _checksum(graph, metadata)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (DecodeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise Damaged(path, f"truncated or no exported ONNX graph ({reason})") from None
    if checksum != expected:
        raise Damaged(path, "damaged (its checksum is that of another content)")
    return content, metadata


def _checksum(graph, metadata: Mapping) -> str:
    """Of a graph without properties, and what it says of itself."""
    return hashlib.sha256(_bytes_of(graph) + json.dumps(metadata).encode()).hexdigest()


def _bytes_of(graph) -> bytes:
    return graph.SerializeToString(deterministic=True)
