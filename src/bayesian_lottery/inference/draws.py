"""Networks that predict by draws of their weights, kept from the training of one network.

A **point** is all that is trained as one vector (m,): the survivors' row (n,), then the parameters
of norms and embeddings, which have no row. Draws are points, as are their running mean and standard
deviation. Norms with running statistics have those of each draw, made anew from training images
when training ends.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from bayesian_lottery.inference import norms
from bayesian_lottery.inference.networks import (
    Batches,
    Network,
    Objective,
    Training,
    Weights,
    check_shapes,
    prunable_of,
    take,
    take_others,
    trained,
)
from bayesian_lottery.inference.survivors import State, Survivors
from bayesian_lottery.meter import Meter
from bayesian_lottery.tickets.masks import Mask

OWN = "sampling."  # what the names of saved tensors that no plain model has begin with


def place(index: int, total: int, count: int) -> int | None:
    """Which of `count` evenly spaced places (from 0) the step `index` (from 1) of `total` has; None
    if none. The last place is the last step's; with fewer steps than places each has one."""
    count = min(count, total)
    before, now = (index - 1) * count // total, index * count // total
    return now - 1 if now > before else None


class DrawingNetwork(Network):
    """A network in training, whose iterates become draws; how, its heirs say.

    Before there are draws it predicts with the current weights. Its saved state is the plain
    model's: the current weights, or from the end on the draws' mean; and beside it, once there are
    draws, under names that begin with `OWN`, the standard deviation (m,) and number of all points
    that were averaged, the draws (D, m), and their norms' statistics (D, C).

    Args:
        template: see `networks.build`.
        keep: how many draws there can be.
    """

    objective = Objective()

    def __init__(self, template: nn.Module, keep: int):
        state = {name: tensor.detach() for name, tensor in template.state_dict().items()}
        self.names, self.keep = list(state), keep
        self.survivors = Survivors(template)
        others = self.survivors.others
        self.extra = [name for name, each in others.items() if isinstance(each, nn.Parameter)]
        self.norms = norms.norms_of(template)
        self.weight: Tensor = nn.Parameter(self.survivors.like.clone())
        self.take_row({name: state[name] for name in self.survivors.shapes})
        self._forget(0)

    def _forget(self, room: int) -> None:
        """Let there be no draws, and memory for `room`."""
        point = self.point()
        self.count = torch.zeros((), device=point.device)  # of points in the moments
        self.mean, self.squares = torch.zeros_like(point), torch.zeros_like(point)
        self.kept = torch.zeros((), dtype=torch.int64, device=point.device)
        self.draws = point.new_zeros(room, len(point))
        self.statistics = {
            name: tensor.new_zeros(room, len(tensor)) for name, tensor in self._running().items()
        }

    def load(self, state: Mapping[str, Tensor], mask: Mask) -> None:
        plain = {name: each for name, each in state.items() if not name.startswith(OWN)}
        check_shapes("weights", plain, dict(self._named()))
        self.survivors.keep(mask)
        self.take_row({name: plain[name] for name in self.survivors.shapes})
        take_others(self.survivors, plain)
        own = {name.removeprefix(OWN): each for name, each in state.items() if name not in plain}
        # Draws of another mask, such as of the level before, are left out.
        room = own["draws"].shape if own else (0, -1)
        fits = room[1] == len(self.point())
        self._forget(room[0] if fits else 0)
        if fits:
            self._restore(own)

    def _restore(self, own: State) -> None:
        self.mean.copy_(self.point())
        self.count.copy_(own["count"])
        self.squares.copy_(own["std"]).square_().mul_(self.count - 1)
        self.draws.copy_(own["draws"])
        self.kept.fill_(len(self.draws))
        for name, each in self.statistics.items():
            each.copy_(own[name])

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        """The plain model's tensors, in its order."""
        found = {**self.survivors.named(self.row().detach()), **self.survivors.others}
        return ((name, found[name].detach()) for name in self.names)

    def state(self) -> State:
        plain = {name: tensor.clone() for name, tensor in self._named()}
        kept = int(self.kept)
        if not kept:
            return plain
        own = {"count": self.count, "std": self.std(), "draws": self.draws[:kept]}
        own |= {name: each[:kept] for name, each in self.statistics.items()}
        return plain | {f"{OWN}{name}": each.clone() for name, each in own.items()}

    def tensors(self) -> State:
        own = {"count": self.count, "mean": self.mean, "squares": self.squares}
        own |= {"kept": self.kept, "draws": self.draws, **self.statistics}
        named = {f"{OWN}{name}": each for name, each in own.items()}
        return {"weight": self.weight, **self.survivors.others, **named}

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        return [{"params": trained(self.tensors()), "weight_decay": weight_decay}]

    def optimizer(self, training: Training) -> torch.optim.Optimizer:
        self._forget(self.keep)
        return super().optimizer(training)

    def row(self) -> Tensor:
        """The survivors' current values (n,), a function of the parameter."""
        return self.weight

    def take_row(self, tensors: Mapping[str, Tensor]) -> None:
        """Let the current row be that of the variables' tensors."""
        take(self.weight, self.survivors, tensors)

    def point(self) -> Tensor:
        """The current point (m,)."""
        others = [self.survivors.others[name].detach().flatten() for name in self.extra]
        return torch.cat([self.row().detach(), *others])

    def take_point(self, point: Tensor) -> None:
        """Let the current point be `point`."""
        row, others = self._parts(point)
        self.take_row(self.survivors.named(row))
        for name, value in others.items():
            self.survivors.others[name].data.copy_(value)

    def _parts(self, point: Tensor) -> tuple[Tensor, State]:
        """The row of a point, and the parameters that have no row."""
        shapes = [self.survivors.others[name].shape for name in self.extra]
        sizes = [len(self.survivors), *(shape.numel() for shape in shapes)]
        row, *others = point.split(sizes)
        named = zip(self.extra, others, shapes, strict=True)
        return row, {name: part.view(shape) for name, part, shape in named}

    def average(self) -> None:
        """Count the current point in the mean and the standard deviation (Welford 1962)."""
        point = self.point()
        self.count += 1
        step = point - self.mean
        self.mean += step / self.count
        self.squares += step * (point - self.mean)

    def std(self) -> Tensor:
        """The standard deviation (m,) of the points averaged; 1 before there are two."""
        deviation = (self.squares / (self.count - 1)).sqrt()
        return torch.where(self.count > 1, deviation, 1.0)

    def keep_draw(self, index: int, point: Tensor) -> None:
        """Let `point` be the draw of this index, with the norms' statistics of now."""
        self.draws[index] = point
        for name, each in self._running().items():
            self.statistics[name][index] = each
        self.kept.fill_(index + 1)

    def finish(self, batches: Batches) -> None:
        """Take the mean for the current point, and make its and each draw's norm statistics."""
        if not self.mean.isfinite().all():
            return  # the loop will say that training diverged
        self.take_point(self.mean)
        if not self.norms:
            return
        meter = Meter("norm statistics", int(self.kept))
        for name, each in self._measured(self.mean, batches).items():
            self.survivors.others[name].copy_(each)
        for index in range(int(self.kept)):
            for name, each in self._measured(self.draws[index], batches).items():
                self.statistics[name][index] = each
            meter.show(index + 1)
        meter.close()

    def _measured(self, point: Tensor, batches: Batches) -> State:
        row, others = self._parts(point)
        return norms.measure(self.survivors, self.norms, row, others, batches)

    def _running(self) -> State:
        """The norms' statistics of now."""
        return norms.running(self.norms, self.survivors.others)

    def weights(self) -> Weights:
        return (self.row(),)

    def noise(self, samples: int, *generators: torch.Generator) -> Tensor:
        """The numbers of all draws (D, 1), whatever `samples`; nothing for the current weights."""
        if self.template.training or not (kept := int(self.kept)):
            return torch.empty(1, 0)
        return torch.arange(kept, device=self.draws.device)[:, None]

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        # Gradients are of the current weights, predictions by the draws.
        if noise.shape[1] == 0 or torch.is_grad_enabled():
            return self.survivors.logits(images, weights[0].expand(len(noise), -1))
        numbers = noise[:, 0]
        if not self.extra and not self.norms:
            return self.survivors.logits(images, self.draws[numbers])
        each = []
        for number in numbers.tolist():
            row, others = self._parts(self.draws[number])
            running = {name: values[number] for name, values in self.statistics.items()}
            each.append(norms.logits(self.survivors, images, row, {**others, **running}))
        return torch.cat(each)

    def divergence(self, weights: Weights) -> Tensor:
        return weights[0].new_zeros(1)

    def moments(self) -> dict[str, State]:
        """Mean and standard deviation of the points averaged; before there are two, the current
        weights and 1."""
        many = self.count > 1
        mean = torch.where(many, self.mean, self.point())
        return {
            name: prunable_of(self.survivors, self._parts(vector)[0])
            for name, vector in {"mean": mean, "std": self.std()}.items()
        }

    def draw(self, generator: torch.Generator) -> State:
        named = dict(self._named())
        if kept := int(self.kept):
            index = torch.randint(kept, (), generator=generator, device=self.draws.device)
            row, others = self._parts(self.draws[index])
            running = {name: each[index] for name, each in self.statistics.items()}
            named |= {**self.survivors.named(row), **others, **running}
        return {name: tensor.clone() for name, tensor in named.items()}

    def born(self, name: str) -> dict[str, float]:
        return {}

    def gradients(self) -> State:
        return prunable_of(self.survivors, self.weight.grad)

    def sampling(self) -> dict[str, float | None]:
        return {"draws": int(self.kept)}
