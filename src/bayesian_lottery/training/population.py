"""A population: networks of one node that train side by side, each by its own hyperparameters."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import torch
from torch import Tensor

from bayesian_lottery.data.decoded import Images
from bayesian_lottery.inference import kinds, packs
from bayesian_lottery.inference.variational import BayesianNetwork
from bayesian_lottery.randomness import generator
from bayesian_lottery.training.batches import Batches, divide
from bayesian_lottery.training.curricula import Curriculum
from bayesian_lottery.training.engine import Engine, Plan
from bayesian_lottery.training.hyperparameters import Hyperparameters, Space
from bayesian_lottery.training.records import Record, Records
from bayesian_lottery.training.steps import leave_gradients
from bayesian_lottery.training.targets import Targets


@dataclass
class Member:
    """A network of the population.

    network: its own, part of a pack's.
    stream: the coordinates that name its random streams, which it keeps whatever it copies.
    records: what it is tested by, with the record of the training of its state, also where that
        was another member's before.
    values: what it is trained by.
    nll: on held-out images, as last measured; infinite before and where training has diverged.
    lost: whether training has diverged.
    """

    network: BayesianNetwork
    stream: tuple[object, ...]
    records: Records
    values: Hyperparameters
    nll: float = math.inf
    lost: bool = False

    @property
    def record(self) -> Record:
        return self.records.all[0]

    @record.setter
    def record(self, record: Record) -> None:
        self.records.all = [record]

    def told(self) -> dict:
        """What a checkpoint has of it besides tensors and generators (JSON)."""
        known = self.nll if math.isfinite(self.nll) else None
        own = {"values": asdict(self.values), "record": vars(self.record)}
        return {**own, "nll": known, "lost": self.lost}

    def take(self, told: Mapping) -> None:
        """Be as it was `told`."""
        self.record, self.lost = Record(**told["record"]), told["lost"]
        self.nll = math.inf if told["nll"] is None else told["nll"]
        self.train_by(Hyperparameters(**told["values"]))

    def train_by(self, values: Hyperparameters) -> None:
        """Let its hyperparameters be `values`, from the next step on."""
        self.values = values
        self.network.heat_layers(values.heats)


class Side:
    """Members that train side by side, as a pack."""

    def __init__(
        self, members: Sequence[Member], images: Images, settings: Mapping, targets: Targets
    ):
        self.targets = targets
        self.networks = [member.network for member in members]
        self.pack = cast(BayesianNetwork, packs.pack(self.networks))
        plan = Plan(**settings.get("compute", {}))
        likelihoods = targets.log_likelihoods
        self.engine = Engine(self.pack, images.image_shape, plan, likelihoods)
        streams = [member.stream for member in members]
        training, _ = divide(images, settings)
        size, augment = settings["curriculum"]["batch_size"], settings["augment"]
        self.batches = Batches(images, training, size, augment, streams)
        device = images.mean.device
        self.noise = [generator(*stream, "weights", device=device) for stream in streams]
        self.renew()

    def renew(self) -> None:
        """Take the factors on the KL that the members have now."""
        factors = [torch.as_tensor(network.factors) for network in self.networks]
        self.heat = torch.cat(factors) / len(self.batches.training)

    def leave_gradients(self, step: int) -> Tensor:
        """Leave the gradients of a step with the members; what it adds to their `TOTALS`."""
        noise = self.pack.noise(self.pack.objective.samples, *self.noise)
        inputs, labels = self.batches.of(self.batches.rows(step))
        beside = self.targets.beside_labels(inputs, step)
        totals = leave_gradients(self.engine, inputs, labels, noise, self.heat, *beside)
        packs.deal_gradients(self.pack, self.networks)
        return totals


class Population:
    """Members, and the optimiser that moves them all, each by a learning rate of its own.

    Args:
        network: where all start from; it stays as it is.
        images, settings, targets: as `loop.train` takes them. Its steps are not recorded, whatever
            `compute.capture` says.
        stream: the coordinates that name the node's random streams.
    """

    def __init__(
        self,
        network: BayesianNetwork,
        images: Images,
        settings: Mapping,
        stream: Sequence[object],
        targets: Targets,
    ):
        self.settings, self.stream = settings, tuple(stream)
        self.data = images, divide(images, settings)[1]  # and those of them that are held out
        self.options = kinds.options_of(settings)
        self.space = Space.of(self.options, network.survivors.layers)
        self.curriculum = Curriculum.of(settings["curriculum"])
        count = self.options["members"]
        self.members = [self._member(network, number) for number in range(count)]
        # On a CPU one after the other is faster: each by the products that suit its own mask.
        size = self.options.get("side_by_side", 1 if images.mean.device.type == "cpu" else count)
        self.sides = [
            Side(self.members[first : first + size], images, settings, targets)
            for first in range(0, count, size)
        ]
        self.per_epoch = self.sides[0].batches.per_epoch
        self.optimizer = self.curriculum.build_optimizer(
            [group for number in range(count) for group in self._groups(number)]
        )

    def _member(self, network: BayesianNetwork, number: int) -> Member:
        own, stream = copy.deepcopy(network), (*self.stream, "member", number)
        values = self.space.draw(generator(*stream, "hyperparameters"))
        own.log_std.data += math.log(values.initial_std)
        plan = Plan(**self.settings.get("compute", {}))
        records = Records([own], *self.data, self.settings, [stream], plan)
        member = Member(own, stream, records, values)
        member.record.population.append({"epoch": 0, "nll": None, **asdict(values)})
        member.train_by(values)
        return member

    def _groups(self, number: int) -> list[dict]:
        """A member's parameter groups.

        torch's fused algorithms take every tensor for contiguous, and some are parts of a pack's
        that are not.
        """
        groups = self.members[number].network.parameter_groups(self.curriculum.weight_decay)
        return [
            {**group, "member": number, "fused": all(p.is_contiguous() for p in group["params"])}
            for group in groups
        ]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that training changes, of all members."""
        return {
            f"{number}.{name}": tensor
            for number, member in enumerate(self.members)
            for name, tensor in member.network.tensors().items()
        }

    def take(self, told: Sequence[Mapping]) -> None:
        """Let the members be as they were `told`."""
        for member, own in zip(self.members, told, strict=True):
            member.take(own)
        for side in self.sides:
            side.renew()

    def generators(self) -> dict[str, list[torch.Generator]]:
        """The random generators whose state training changes, of all members."""
        sides = self.sides
        augmentation = [stream for side in sides for stream in side.batches.generators]
        return {"augmentation": augmentation, "weights": [n for side in sides for n in side.noise]}

    def rates(self, step: int) -> list[float]:
        """The members' learning rates in a step."""
        rate = self.curriculum.learning_rate_at(step, self.per_epoch)
        return [rate * member.values.learning_rate for member in self.members]

    def step(self, step: int) -> Tensor:
        """Take a step with all members; what it adds to their `TOTALS`, (4, members)."""
        totals = torch.cat([side.leave_gradients(step) for side in self.sides], 1)
        rates = self.rates(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["member"]]
        self.optimizer.step()
        self.optimizer.zero_grad()
        return totals

    def ranked(self) -> list[Member]:
        """The members, the lowest NLL on held-out images first; of equals the first by number."""
        return sorted(self.members, key=lambda member: member.nll)

    def evolve(self, epoch: int) -> None:
        """Let the worst members copy one of the best each, and explore (truncation selection).

        Those whose training has diverged copy one, too, however many they are.
        """
        stream = generator(*self.stream, "population", epoch)
        ranked = self.ranked()
        count = max(1, int(self.options["truncation"] * len(ranked)))
        best = [member for member in ranked[:count] if math.isfinite(member.nll)]
        last = {id(member) for member in ranked[-count:]}
        worst = [m for m in ranked if id(m) in last or not math.isfinite(m.nll)]
        for member in worst:
            source = best[int(torch.randint(len(best), (), generator=stream))]
            self._copy(source, member)
            member.train_by(self.space.explore(member.values, stream))
            row = {"epoch": epoch, "nll": source.nll, **asdict(member.values)}
            member.record.population.append(row)
        for side in self.sides:
            side.renew()

    def _copy(self, source: Member, member: Member) -> None:
        """Give `member` the state of `source` and of its optimiser, and its record."""
        state, theirs = member.network.tensors(), source.network.tensors()
        for name, tensor in state.items():
            tensor.data.copy_(theirs[name])
            for key, value in self.optimizer.state.get(theirs[name], {}).items():
                if isinstance(value, Tensor):
                    self.optimizer.state[tensor][key].copy_(value)
        member.record, member.values = copy.deepcopy(source.record), source.values
        member.nll, member.lost = source.nll, False
