"""Steps by a recording: the same numbers, and nothing that a recording is bound to is replaced.

A CUDA graph replays what it has recorded on the memory that it has seen. The stand-in here takes
the step anew each time, and insists on the same memory.
"""

import pytest
import torch
from small_study import SmallStudy, interrupted

from bayesian_lottery.training import loop, steps
from bayesian_lottery.training.steps import Step

# A learning rate is exact in float32, in which graphs have it, and the same at every step.
CURRICULUM = {"epochs": 2, "batch_size": 32, "learning_rate": 2**-9, "milestones": []}
SEARCH = {"kind": "dynamic", "every": 3, "share": 0.5, "end": 1.0}
SCORERS = {"deterministic": "magnitude", "bayesian": "snr"}


class Recording:
    """Stands in for `capture.Recording`, on a CPU."""

    made = 0

    def __init__(self, function, inputs, generators):
        type(self).made += 1
        self.function, self.step = function, function.__self__
        self.inputs, self.bound = [tensor.clone() for tensor in inputs], self.memory()
        drawn = [*self.step.streams, *self.step.batches.generators]
        assert list(map(id, generators)) == list(map(id, drawn))

    def memory(self) -> list[int]:
        """Where the network and its optimiser have their tensors."""
        moments = [v for entry in self.step.optimizer.state.values() for v in entry.values()]
        tensors = [*self.step.engine.network.tensors().values(), *moments]
        return [tensor.data_ptr() for tensor in tensors if isinstance(tensor, torch.Tensor)]

    def __call__(self, *inputs):
        assert self.memory() == self.bound
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        return self.function(*self.inputs)


class Recorded(Step):
    """A step that is recorded on a CPU too."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.recorded = True


@pytest.fixture
def small(tmp_path):
    """Dense networks, and a level whose mask moves."""
    curricula = {name: {**CURRICULUM, "optimizer": name} for name in ("adam", "sgd")}
    trunks = [
        {"dataset": "digits", "model": "lenet_100_50", "inference": inference, "scorer": scorer,
         "curriculum": [*curricula], "search": ["moving"], "seeds": [0], "levels": 1}
        for inference, scorer in SCORERS.items()
    ]  # fmt: skip
    searches = {"moving": SEARCH}
    return SmallStudy(tmp_path, trunks=trunks, branches=[], curricula=curricula, searches=searches)


@pytest.mark.parametrize("curriculum", ["adam", "sgd"])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("inference", SCORERS)
def test_recorded_steps_are_the_same(small, monkeypatch, inference, level, curriculum):
    """Over ten steps, of which a recording is made of the fourth; and anew when the mask moves."""
    node = small.node("lenet_100_50", inference, curriculum, level=level)
    small.train(node)
    expected = small.numbers(node)
    monkeypatch.setattr(steps, "Recording", Recording)
    monkeypatch.setattr(Recording, "made", 0)
    monkeypatch.setattr(loop, "Step", Recorded)
    small.train(node)
    assert small.numbers(node) == expected
    assert Recording.made == (3 if level else 1)  # after moves at steps 3, 6 and 9
    interrupted(monkeypatch, 5, lambda: small.train(node, checkpoint_seconds=0))
    small.train(node)
    assert small.numbers(node) == expected
