"""Tickets of finished nodes, for code of one's own: a mask, initial and trained weights.

from bayesian_lottery.exports import tickets

ticket = tickets.load("results/runs/.../level03")
network = ticket.module()
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import prune
from torch_blue import vi

from bayesian_lottery import models, study
from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.files import read_shapes, read_tensors
from bayesian_lottery.inference import bayesian, kinds
from bayesian_lottery.inference.mean_field import Variational
from bayesian_lottery.inference.networks import State
from bayesian_lottery.models import adapting
from bayesian_lottery.models.carrying import plain_name
from bayesian_lottery.options import defaults
from bayesian_lottery.randomness import seed_of
from bayesian_lottery.study import Node, node_metrics
from bayesian_lottery.tickets import masks
from bayesian_lottery.tickets.branches import branch_of
from bayesian_lottery.tickets.searches import SEARCHES
from bayesian_lottery.training.starts import own_network
from bayesian_lottery.training.tasks import stream_of


@dataclass(frozen=True)
class Ticket:
    """A mask and what it leaves of a network.

    Attributes:
        node: the coordinates of the node that it was trained as.
        settings: by which.
        image_shape: (C, H, W).
        classes: number of classes K.
        mask: True where a weight is kept, by the weight's name in this package's model.
        initial: the weights w0 that trunks of the seed start from, not masked; of a branch with
            a `seed` of its own, that seed's. Weights that a branch draws, and later ones that a
            rewind goes back to, are not in them; but a narrow network's own are, and a classifier
            drawn anew for other classes.
        trained: the trained network's state, pruned weights 0; a Bayesian one's has means and
            log sigmas by torch-blue's names. None where they were not kept.
    """

    node: Mapping
    settings: Mapping
    image_shape: tuple[int, int, int]
    classes: int
    mask: masks.Mask
    initial: State
    trained: State | None

    def module(self, weights: str = "trained") -> nn.Module:
        """A plain module in evaluation mode, of the model's own class, pruned weights 0.

        Args:
            weights: "initial" or "trained"; the latter are the means of a Bayesian network.

        Raises:
            InputError: there are no such weights.
        """
        return self._plain(masks.apply(self.mask, self._weights(weights)))

    def torch_blue(self, weights: str = "trained") -> vi.VIModule:
        """A torch-blue module in evaluation mode, sigma 0 where a weight is pruned.

        Around initial weights, and those of a deterministic network, sigma is that of the options
        of the inference that trained the node, or the defaults.

        Args:
            weights: as for `module`.
        """
        given = {**defaults(Variational), **kinds.options_of(self.settings)}
        template = self._model()
        template.load_state_dict(masks.apply(self.mask, self._weights(weights)))
        module = bayesian.convert(template, given["initial_std"], given["prior_std"])
        state = module.state_dict()
        for name, layer in self.mask.items():
            log_std = bayesian.parameter_names(name)[1]
            state[log_std] = torch.where(layer, state[log_std], -torch.inf)
        if weights == "trained" and self.trained and self.trained.keys() == state.keys():
            state = self.trained
        module.load_state_dict(state)
        return module.eval()

    def pruned(self, weights: str = "trained") -> nn.Module:
        """`module`, pruned by `torch.nn.utils.prune`: `weight_orig`, `weight_mask` and a hook.

        Its initial weights are whole in `weight_orig`.

        Args:
            weights: as for `module`.
        """
        module, model = self._plain(self._weights(weights)), self._model()
        for name, layer in self.mask.items():
            path, _, parameter = plain_name(model, name).rpartition(".")
            prune.custom_from_mask(module.get_submodule(path), parameter, layer)
        return module

    def _weights(self, which: str) -> State:
        """The plain model's parameters and buffers, by the names in this package's model."""
        if which not in ("initial", "trained"):
            raise choice("weights", which, ("initial", "trained"))
        if which == "initial":
            return self.initial
        if self.trained is None:
            raise InputError(
                "weights: the trained ones of this node were not kept; the configuration's "
                "'weights: all' keeps them, or take 'initial'."
            )
        means = {name: bayesian.parameter_names(name)[0] for name in self.initial}
        return {
            name: self.trained[name if name in self.trained else mean]
            for name, mean in means.items()
        }

    def _model(self) -> nn.Module:
        return _model(self.node, self.settings, self.image_shape, self.classes, self.mask)

    def _plain(self, state: State) -> nn.Module:
        model, definition = self._model(), models.of(self.settings)
        if not isinstance(definition, models.Definition):
            model.load_state_dict(state)
            return model.eval()
        module = adapting.plain(definition, self.image_shape, self.classes)
        module.load_state_dict({plain_name(model, k): v for k, v in state.items()})
        return module.eval()


def load(folder: str | Path) -> Ticket:
    """The ticket of a finished node, from its folder among a study's results.

    Of a model that an extension or a file defines, start in the folder that Snakemake runs in.

    Raises:
        InputError: a file is missing or damaged.
    """
    folder = Path(folder).resolve()
    metrics = node_metrics.read(folder / "metrics.json")
    node, settings = Node(**metrics["node"]), metrics["settings"]
    root, branch = Path(str(folder).removesuffix(f"/{node.folder}")), branch_of(settings)
    seed = node.seed if branch.seed is None else branch.seed
    initial, metadata = read_tensors(
        root / f"initial/{node.dataset}/{node.model}/seed{seed}.safetensors"
    )
    shapes, _ = read_shapes(folder / "predictions.safetensors")
    image_shape, classes = tuple(metadata["image_shape"]), shapes["probabilities"][1]
    mask = _mask(root, node, initial, metrics)
    if branch.network or branch.dataset:
        own = _model(metrics["node"], settings, image_shape, classes, mask).state_dict()
        drawn = {k: v for k, v in own.items() if branch.network or v.shape != initial[k].shape}
        initial = {**initial, **drawn}
    weights = folder / "weights.safetensors"
    trained = read_tensors(weights)[0] if weights.exists() else None
    return Ticket(metrics["node"], settings, image_shape, classes, mask, initial, trained)


def _model(
    node: Mapping,
    settings: Mapping,
    image_shape: tuple[int, int, int],
    classes: int,
    mask: masks.Mask,
) -> nn.Module:
    """The plain model of a node, with what is drawn of it for this node alone."""
    stream = stream_of(node)
    seed = seed_of(*stream, "classifier")
    template = models.build(models.of(settings), image_shape, classes, seed=seed)
    if not branch_of(settings).network:
        return template
    covers = f"{models.classifier_of(template)}.weight" in mask
    size = masks.survivors(mask), covers
    return own_network(settings, image_shape, classes, *size, stream)


def _mask(root: Path, node: Node, initial: State, metrics: Mapping) -> masks.Mask:
    """A node's mask; dense at level 0.

    Settings tell the kind of a rewind, and that of a search that makes its own masks. Which other
    kind a search of one's own name is, the files tell, those of this search alone first: dense
    networks have masks that searches share.
    """
    settings = metrics["settings"]
    own = settings.get("search_options")
    if node.branch or own:
        return masks.load(root / node.folder / "mask.safetensors")
    if node.level == 0:
        return masks.ones({layer["name"]: initial[layer["name"]].shape
                           for layer in metrics["layers"]})  # fmt: skip
    rewinds = {node.rewind: settings["rewinding"]} if "rewinding" in settings else {}
    kept = {layer["name"]: layer["survivors"] for layer in metrics["layers"]}
    order = ("watched", "previous", "dense")
    others = [name for scored in order for name, k in SEARCHES.items() if k.scored == scored]
    for kind in [node.search] if node.search in SEARCHES else others:
        config = {"searches": {node.search: {"kind": kind}}, "rewinds": rewinds}
        if origin := study.origins(config, node).get("mask"):
            path = root / origin.node.folder / f"{origin.name}.safetensors"
            mask = masks.load(path) if path.exists() else {}
            if {name: int(layer.sum()) for name, layer in mask.items()} == kept:
                return mask
    raise InputError(f"{root / node.folder}: the mask that it was trained under is not there.")
