"""Networks that exact samplers move: draws of a Markov chain over all survivors of a plain model.

How they are moved, `sampling` says; the training loop does not train them.
"""

from collections.abc import Mapping

from torch import nn

from bayesian_lottery.errors import InputError
from bayesian_lottery.inference.draws import DrawingNetwork


class ChainNetwork(DrawingNetwork):
    """A network whose draws a chain makes."""

    @classmethod
    def of(cls, template: nn.Module, options: Mapping) -> "ChainNetwork":
        """From the options of `monte_carlo.Exact`, as far as they are given.

        Raises:
            InputError: the model is no chain of linear layers and convolutions.
        """
        if not hasattr(template, "chain"):
            raise InputError(
                f"inference: exact samplers take perceptrons and LeNets, and no "
                f"{type(template).__name__}."
            )
        return cls(template, options.get("keep", 200))

    def begin(self) -> None:
        """Let there be no draws, and memory for as many as are kept."""
        self._forget(self.keep)
