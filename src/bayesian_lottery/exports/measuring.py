"""A trained node exported in several formats, and what came of each: a node of the table."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import export, sources
from bayesian_lottery.files import write_json
from bayesian_lottery.inference import kinds
from bayesian_lottery.meter import Meter
from bayesian_lottery.study import node_metrics
from bayesian_lottery.study.formats import FORMATS, MEAN, SAMPLES
from bayesian_lottery.training import devices, provenance

# What a row keeps of a file's metadata.
KEPT = ("weights_bytes", "dense_bytes", "predictions", "speed", "slower", "threads")


def measure(folder: Path, data_file: Path, settings: Mapping, files: Path, output: Path) -> dict:
    """Export a node in all formats asked for, and tell what was measured.

    A format that does not fit the network or the machine is told as `refused`, with the reason. A
    stochastic network is exported by its posterior mean and by weight samples.

    Args:
        folder: the node's.
        data_file: the decoded data set that it was trained on.
        settings: `formats`, `batches`, `samples`, and `seconds` for each comparison of times.
        files: the folder to write exported networks to, `{format}.…` or `{format}_{predicts}.…`.
        output: the JSON file to write.

    Raises:
        InputError: a file is missing, truncated or of another network or data set.
    """
    images, rows = decoded.load(data_file), []
    files.mkdir(parents=True, exist_ok=True)
    metrics = node_metrics.read(folder / "metrics.json")
    asked = [*_asked(metrics["settings"], settings["formats"])]
    meter = Meter("export", len(asked))
    source = None
    for done, (predicts, format) in enumerate(asked, 1):
        if source is None or predicts != rows[-1]["predicts"]:
            source = sources.read(folder, images, predicts, settings["samples"])
        name = f"{format}_{predicts}" if predicts else format
        path = files / f"{name}.{FORMATS[format].suffix}"
        row = {"format": format, "predicts": predicts, "samples": source.samples}
        rows.append({**row, **_exported(source, format, path, settings)})
        print(f"{name}: {said(rows[-1])}", flush=True)
        meter.show(done)
    meter.close()
    measured = {
        "node": metrics["node"],
        "density": metrics["density"],
        "settings": dict(settings),
        "exports": rows,
        "provenance": provenance.provenance(devices.choose("cpu")),
    }
    write_json(output, measured)
    return measured


def _asked(settings: Mapping, formats: list[str]) -> Iterator[tuple[str | None, str]]:
    """What a network is exported by, and in which format."""
    kind = kinds.kind_of(settings)
    drawn = (MEAN,) if kind.own_draws else (MEAN, SAMPLES)
    for predicts in drawn if kind.stochastic else (None,):
        for format in formats:
            yield predicts, format


def _exported(source: sources.Source, format: str, path: Path, settings: Mapping) -> dict:
    try:
        content = export.make(source, format)
    except InputError as refused:
        return {"refused": str(refused)}
    told = export.write(source, format, content, path, settings["batches"], settings["seconds"])
    return {
        "bytes": path.stat().st_size,
        **{name: told[name] for name in KEPT},
    }


def said(row: Mapping) -> str:
    """What the log says of an export."""
    if "refused" in row:
        return f"refused: {row['refused']}"
    fast = ", ".join(f"{each['times_as_fast']:.2f}" for each in row["speed"])
    words = f"{row['bytes']:,} bytes, {fast} times as fast as dense"
    return f"{words}; {row['slower']}" if row["slower"] else words
