"""The weights that a dense network has at an early step, for rewinds that go back to them."""

from collections.abc import Mapping
from pathlib import Path

from bayesian_lottery.computation import VERSION
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import write_tensors
from bayesian_lottery.inference import kinds
from bayesian_lottery.study import extensions
from bayesian_lottery.tickets import rewinds
from bayesian_lottery.training import checkpoints
from bayesian_lottery.training.batches import divide
from bayesian_lottery.training.checkpoints import Checkpointing
from bayesian_lottery.training.evaluation import untested
from bayesian_lottery.training.starts import start
from bayesian_lottery.training.tasks import Inputs, alone, prepare, stream_of


def write_early(
    node: Mapping,
    settings: Mapping,
    rewinding: Mapping,
    inputs: Inputs,
    output: Path,
    device: str = "auto",
    checkpoint_seconds: float = 300,
) -> None:
    """Train a dense network as its node does, up to the early step of a rewind, and write it.

    Its weights are those, bit for bit, that the node has at that step when it trains alone on the
    same kind of device. The checkpoint and the lock lie beside `output`.

    Args:
        node, settings, rewinding: as `study.early_task` gives them.
        inputs: what the dense node starts from.
        output: the weights to write.
        device, checkpoint_seconds: as `jobs.train_nodes` takes them.

    Raises:
        InputError: the step lies beyond training, or an input is missing or damaged.
        Diverged, Stopped: as `loop.train` says.
    """
    extensions.load(inputs.extensions)
    with alone(output.parent):
        place = prepare(device, settings)
        images = decoded.load(inputs.data, place)
        stream = stream_of(node)
        step = _step(images, settings, rewinding)
        digest = checkpoints.fingerprint(
            {
                "tasks": [{"node": dict(node), "settings": dict(settings)}],
                "step": step,
                "device": place.type,
            },
            inputs.files(),
        )
        path = output.with_name("checkpoint.safetensors")
        network = start(images, settings, inputs, stream, place)
        train = kinds.kind_of(settings).train()
        train(
            [network],
            images,
            untested(settings),
            [stream],
            Checkpointing(path, checkpoint_seconds, digest),
            until=step,
        )
        metadata = {"node": dict(node), "step": step, "computation": VERSION}
        write_tensors(output, network.state(), metadata)
        path.unlink(missing_ok=True)


def _step(images: decoded.Images, settings: Mapping, rewinding: Mapping) -> int:
    training, _ = divide(images, settings)
    curriculum = settings["curriculum"]
    try:
        early = rewinds.early(rewinding)
        return early.step(curriculum["epochs"], len(training) // curriculum["batch_size"])
    except InputError as error:
        raise InputError(f"rewinds, of kind {rewinding['kind']}: {error}") from None
