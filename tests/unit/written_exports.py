"""Exports of pruned networks as tests write them, and the logits that they must give."""

import torch
from pruned_networks import SHAPES, folder_of

from bayesian_lottery.exports import export, sources
from bayesian_lottery.randomness import generator
from bayesian_lottery.study.formats import FORMATS

SAMPLED = 3


def written(tmp_path, model, inference, predicts, mask, format, batches=()):
    """A node's export: its path, the metadata, and what it was made from."""
    folder, _ = folder_of(tmp_path, model, inference, mask)
    path = tmp_path / f"network.{FORMATS[format].suffix}"
    source = sources.read(folder, tmp_path / "data", predicts, SAMPLED, multiple=1)
    content = export.make(source, format)
    return path, export.write(source, format, content, path, batches, seconds=0), source


def logits_of(source, images):
    """Logits (S, B, K) by the plain model, one draw after the other."""
    model = source.template()
    found = []
    for state in source.draws:
        model.load_state_dict(state)
        with torch.inference_mode():
            found.append(model(images))
    return torch.stack(found)


def images_for(model, count=5):
    return torch.randn(count, *SHAPES[model], generator=generator("images"))
