"""Checks of the steps that rewinds go back to; each error is one sentence."""

from collections.abc import Mapping

from bayesian_lottery.errors import InputError
from bayesian_lottery.study import early_of, early_task
from bayesian_lottery.study.datasets import Images, Undecoded
from bayesian_lottery.study.nodes import Trunk
from bayesian_lottery.tickets.rewinds import early


def check_step(config: Mapping, trunk: Trunk, images: Images | Undecoded) -> None:
    """Refuse a rewind to a step beyond training, as far as the number of images is known."""
    early_weights = early_of(config, trunk.nodes()[-1])
    if early_weights is None or images.train is None:
        return
    told = early_task(config, early_weights)["rewinding"]
    curriculum = config["curricula"][trunk.curriculum]
    try:
        early(told).step(curriculum["epochs"], images.train // curriculum["batch_size"])
    except InputError as error:
        raise InputError(
            f"rewinds.{trunk.rewind}: on {trunk.dataset}, with the curriculum {trunk.curriculum}, "
            f"{error}"
        ) from None
