"""What is exported: a trained network as S plain ones, and what their files say of it.

The S weight samples of a Bayesian network are drawn here once, so that all formats hold the same.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.data.decoded import Images
from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.exports import compact
from bayesian_lottery.files import read_tensors
from bayesian_lottery.inference import bayesian, kinds
from bayesian_lottery.inference.networks import Network, State
from bayesian_lottery.inference.survivors import variables
from bayesian_lottery.models.layers import unfold_samples
from bayesian_lottery.randomness import generator
from bayesian_lottery.study import node_metrics
from bayesian_lottery.study.formats import MEAN, SAMPLES
from bayesian_lottery.tickets.branches import branch_of
from bayesian_lottery.tickets.masks import Mask
from bayesian_lottery.training.engine import SMALL_PASS, multiply_adds

POINT = "deterministic"  # the kind of the posterior mean, taken as a network
CALIBRATION = 256  # training images that quantised activations take their ranges from


@dataclass(frozen=True)
class Content:
    """What a file holds: tensors by name, or the bytes of a graph; and what its format tells of it.

    weights: bytes that all values and their indices take.
    """

    data: State | bytes
    told: Mapping
    weights: int


@dataclass(frozen=True)
class Exported:
    """An exported network, ready to predict.

    Attributes:
        logits: from normalised float32 images (B, C, H, W) on the CPU to logits (S, B, K) there.
        metadata: what the file says of itself.
    """

    logits: Callable[[Tensor], Tensor]
    metadata: Mapping


@dataclass(frozen=True, eq=False)
class Source:
    """A trained network and the data set that it was trained on.

    Attributes:
        folder: the node's.
        node, settings: its coordinates and settings.
        images: the decoded data set.
        state: the network's as it was saved; of a posterior mean that of a deterministic network.
        kind, options: of inference.
        samples: S.
        multiple: see `compact.cut`.
        compared: how many test images to compare predictions on before a file is written.
    """

    folder: Path
    node: Mapping
    settings: Mapping
    images: Images
    state: State
    kind: str
    options: Mapping
    samples: int
    multiple: int
    compared: int

    def template(self) -> nn.Module:
        """The plain model anew, of any weights."""
        return template_of(self.description)

    def network(self, template: nn.Module, state: State) -> Network:
        """The network of a state of it, in evaluation mode."""
        path = self.folder / "weights.safetensors"
        return compact.network_of(path, template, state, self.kind, self.options)

    @cached_property
    def whole(self) -> Network:
        """The network itself."""
        return self.network(self.template(), self.state)

    @property
    def mask(self) -> Mask:
        """Which weights survive, the classifier's among them."""
        return self.whole.mask

    def stream(self, sample: int) -> torch.Generator:
        """The random stream of a weight sample."""
        return generator("export", sample)

    @cached_property
    def draws(self) -> list[State]:
        """The S plain networks' parameters and buffers, pruned weights 0."""
        return [self.whole.draw(self.stream(sample)) for sample in range(self.samples)]

    @cached_property
    def stacked(self) -> State:
        """The S draws as one state, as `models.layers` takes it.

        Raises:
            InputError: draws differ in what layers have one of, such as a norm.
        """
        names, (first, *others) = variables(self.template()), self.draws
        for name, tensor in first.items():
            if name not in names and any(not tensor.equal(draw[name]) for draw in others):
                raise InputError(
                    f"{self.folder}: its weight samples have {name} of their own, which no format "
                    "holds; export its mean."
                )
        return stack(self.draws, names)

    def calibration(self) -> Tensor:
        """Some training images, normalised."""
        return self.inputs(self.images.train.images[:CALIBRATION])

    def tested(self) -> Tensor:
        """The test images to compare predictions on, normalised."""
        return self.inputs(self.images.test.images[: self.compared])

    def inputs(self, images: Tensor) -> Tensor:
        """Images as networks take them."""
        return decoded.normalise(images, self.images.mean, self.images.std)

    @property
    def description(self) -> dict:
        """What every file says: of which network it is, and what images it takes."""
        definition = self.settings.get("definition")
        return {
            "model": self.settings["model"],
            **({"definition": definition} if definition else {}),
            "inference": self.kind,
            "options": dict(self.options),
            "samples": self.samples,
            "image_shape": list(self.images.image_shape),
            "classes": list(self.images.classes),
            "mean": self.images.mean.tolist(),
            "std": self.images.std.tolist(),
            "node": dict(self.node),
        }


def read(
    folder: Path,
    data_file: Path | Images,
    predicts: str | None = None,
    samples: int = 10,
    multiple: int = 8,
    compared: int = 256,
) -> Source:
    """A trained node to export.

    Args:
        folder: the node's, with `metrics.json` and `weights.safetensors`.
        data_file: the decoded data set that it was trained on, or that file.
        predicts: of a stochastic network "mean" or "samples" (None: samples).
        samples: S of weight samples.
        multiple: see `compact.cut`.
        compared: see `Source`.

    Raises:
        InputError: a file is missing, truncated or of another network or data set; the network has
            no posterior mean, or is a branch's own, of other widths.
    """
    images = data_file if isinstance(data_file, Images) else decoded.load(data_file)
    node, settings = read_node(folder, images.name)
    if branch_of(settings).network:
        raise InputError(
            f"{folder}: its network is dense and small already; `tickets.load(...).module()` gives "
            "it as a plain module."
        )
    state, _ = read_tensors(folder / "weights.safetensors")
    kind, options = kinds.kind_name(settings), kinds.options_of(settings)
    if predicts not in (None, MEAN, SAMPLES):
        raise choice("predicts", predicts, (MEAN, SAMPLES))
    if kinds.named_kind(kind).own_draws and predicts != MEAN:
        raise InputError(
            f"{folder}: {settings['inference']} predicts by draws, and no compact network holds "
            "them, nor another format; `tickets.load(...).module()` gives their mean, and so does "
            "an export of it."
        )
    if not kinds.named_kind(kind).stochastic:
        samples = 1
    elif predicts == MEAN:
        template = models.build(models.of(settings), images.image_shape, len(images.classes))
        state = mean_of(folder, state, template)
        kind, options, samples = POINT, {}, 1
    return Source(folder, node, settings, images, state, kind, options, samples, multiple, compared)


def mean_of(folder: Path, state: State, template: nn.Module) -> State:
    """The plain model's state of a posterior's means.

    Raises:
        InputError: the state has no means by torch-blue's names.
    """
    names = {name: bayesian.parameter_names(name)[0] for name in template.state_dict()}
    names = {name: name if name in state else mean for name, mean in names.items()}
    if any(name not in state for name in names.values()):
        raise InputError(f"{folder}: its weights have no posterior mean to export.")
    return {name: state[own] for name, own in names.items()}


def read_node(folder: Path, dataset: str) -> tuple[dict, dict]:
    """A trained node's coordinates and settings, from its `metrics.json`.

    Raises:
        InputError: there is none, `node_metrics` refuses it, or it is of another data set than
            `dataset`.
    """
    path = folder / "metrics.json"
    metrics = node_metrics.read(path)
    settings = metrics["settings"]
    if settings["dataset"] != dataset:
        raise InputError(
            f"{path}: the node was trained on {settings['dataset']}, not on {dataset}."
        )
    return metrics["node"], settings


def template_of(metadata: Mapping) -> nn.Module:
    """The plain model that a file's metadata describe, in evaluation mode.

    Args:
        metadata: as `Source.description`; a compact network's have its `widths` (`compact.narrow`).
    """
    shape = tuple(metadata["image_shape"])
    template = models.build(models.of(metadata), shape, len(metadata["classes"])).eval()
    compact.narrow(template, metadata.get("widths", {}))
    return template


def stack(draws: Sequence[State], names: Mapping[str, object]) -> State:
    """S plain states as one: of the variables `names` one below the other, of others the first."""
    return {
        name: torch.cat([draw[name] for draw in draws]) if name in names else first
        for name, first in draws[0].items()
    }


def unstack(stacked: State, names: Mapping[str, object], samples: int, draw: int) -> State:
    """The state of one of the draws of which `stack` made one."""
    return {
        name: tensor.chunk(samples)[draw] if name in names else tensor
        for name, tensor in stacked.items()
    }


def filled(template: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """`template` with a state's tensors, whatever their sizes, in place."""
    for name, tensor in state.items():
        path, _, own = name.rpartition(".")
        layer = template.get_submodule(path)
        if own in layer._parameters:
            setattr(layer, own, nn.Parameter(tensor, requires_grad=False))
        else:
            setattr(layer, own, tensor)
    return template


def predictor(metadata: Mapping, stacked: State) -> Callable[[Tensor], Tensor]:
    """Logits (S, B, K) of images by the networks of a stacked state, by dense layers.

    Large passes go sample by sample, by the rule of `engine.Engine`.
    """
    template, samples = template_of(metadata), metadata["samples"]
    work = multiply_adds(template, tuple(metadata["image_shape"]))
    names = variables(template)
    apart = [
        filled(copy.deepcopy(template), unstack(stacked, names, samples, draw))
        for draw in range(samples)
    ]
    together = filled(template, stacked) if samples > 1 else apart[0]

    def logits(images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        if samples > 1 and len(images) * work > SMALL_PASS:
            return torch.stack([model(images) for model in apart])
        return unfold_samples(together(images), len(metadata["classes"]))

    return logits
