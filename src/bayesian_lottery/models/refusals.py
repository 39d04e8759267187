"""Modules that cannot be trained here, each refused by a sentence that names the layer."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from bayesian_lottery import imports
from bayesian_lottery.errors import InputError
from bayesian_lottery.models.carrying import known
from bayesian_lottery.models.layers import BatchNorm2d

CLOSE = 1e-5  # sums of float32, where a module's own code turns to it


def refuse(code: str, model: nn.Module) -> None:
    """Raise `InputError`, naming the layer, if weights are not plain float32 numbers of one layer.

    Refused are lazy layers, layers whose weights are computed from others (parametrisations),
    quantised, complex or frozen weights, weights that layers share, and batch norms without
    weights or with an average of all batches.
    """

    owners: dict[int, str] = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        own = list(layer.named_parameters(recurse=False))
        if any(is_lazy(parameter) for _, parameter in own):
            raise _fault(code, name, layer, "is lazy; give it its sizes")
        if is_parametrized(layer) or hasattr(layer, "weight_g"):
            raise _fault(code, name, layer, "computes its weights from others (a parametrisation)")
        if type(layer).__module__.startswith(("torch.ao.nn", "torch.nn.quantized")):
            raise _fault(code, name, layer, "is quantised")
        for parameter_name, parameter in own:
            what = f"has the weights {parameter_name}"
            if parameter.dtype != torch.float32:
                kind = str(parameter.dtype).removeprefix("torch.")
                raise _fault(code, name, layer, f"{what} in {kind}; they must be float32")
            if not parameter.requires_grad:
                raise _fault(code, name, layer, f"{what} frozen (requires_grad is False)")
            other = owners.setdefault(id(parameter), f"{name}.{parameter_name}".lstrip("."))
            if other != f"{name}.{parameter_name}".lstrip("."):
                raise _fault(code, name, layer, f"shares {parameter_name} with {other}")
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            if not layer.affine:
                raise _fault(code, name, layer, "has no weights (affine is False)")
            if layer.momentum is None:
                raise _fault(code, name, layer, "averages all batches (momentum is None)")
    if not owners:
        raise InputError(f"models: {code} has no weights.")


def _fault(code: str, name: str, layer: nn.Module, reason: str) -> InputError:
    what = (
        f"layer {name} ({type(layer).__name__})" if name else f"own code ({type(layer).__name__})"
    )
    return InputError(f"models: {code} cannot be trained here: its {what} {reason}.")


def watch(code: str, model: nn.Module, images: Tensor) -> list[str]:
    """Run `model` in training mode, layer by layer; the names of the layers in their order.

    Raises:
        InputError: it fails, a layer draws random numbers, or a buffer changes that is not one of
            the norms that become those of `layers`.
    """
    called: list[str] = []
    running: list[tuple[str, Tensor]] = []  # the layers that are being called
    kept = [
        (name, layer, key, value, value.clone())
        for name, layer in model.named_modules()
        for key, value in layer.named_buffers(recurse=False)
        if not issubclass(known(layer) or nn.Module, BatchNorm2d)
    ]

    def before(name: str) -> None:
        called.append(name)
        running.append((name, torch.get_rng_state()))

    def after(layer: nn.Module) -> None:
        name, state = running.pop()
        if not torch.equal(state, torch.get_rng_state()):
            reason = "draws random numbers in training, which a resumed run would not draw again"
            reason += "; switch it off by an argument, such as dropout: 0"
            raise _fault(code, name, layer, reason)
        for name, owner, key, value, old in kept if layer is model else []:
            if not torch.equal(value, old):
                reason = f"changes {key} in training, and would do so again for a repeated pass"
                raise _fault(code, name, owner, reason)

    handles = []
    for name, layer in model.named_modules():
        handles += [
            layer.register_forward_pre_hook(lambda layer, _, name=name: before(name)),
            layer.register_forward_hook(lambda layer, *_: after(layer)),
        ]
    try:
        outputs(code, model, images, lambda: running[-1][0] if running else "")
    finally:
        for handle in handles:
            handle.remove()
    return called


def _called(
    code: str, model: nn.Module, images: Tensor, place: Callable[[], str] = lambda: ""
) -> object:
    """What a module gives, whatever that is.

    Raises:
        InputError: it fails, and at which layer `place` then says.
    """
    try:
        return model(images)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        size, at = " x ".join(map(str, images.shape[1:])), place()
        raise InputError(
            f"models: {code} takes no images of {size}{at and f', at layer {at}'} "
            f"({imports.reason(error)})."
        ) from error


@torch.no_grad()
def outputs(
    code: str, model: nn.Module, images: Tensor, place: Callable[[], str] = lambda: ""
) -> list[Tensor]:
    """What a module gives in training mode and in evaluation mode; its buffers stay.

    Raises:
        InputError: it fails, and at which layer `place` then says; or it gives no tensor.
    """
    outputs = []
    state = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng(devices=[]):
        for training in (True, False):
            output = _called(code, model.train(training), images, place)
            if not isinstance(output, Tensor):
                raise InputError(
                    f"models: {code} gives a {type(output).__name__} for images; it must give "
                    "logits, a tensor."
                )
            outputs.append(output)
            for name, buffer in model.named_buffers():
                buffer.copy_(state[name])
    return outputs


def check_logits(code: str, model: nn.Module, images: Tensor, outputs: list[Tensor]) -> None:
    """Raise `InputError` unless a module's `outputs` for images can be logits that train it."""
    for output in outputs:
        if not (output.is_floating_point() and output.isfinite().all()):
            raise InputError(
                f"models: {code} gives outputs that are NaN, infinite or no real numbers, for "
                "random images and with its initial weights; it must give logits."
            )
        if (output >= 0).all() and (output.sum(-1) - 1).abs().max() < CLOSE:
            raise InputError(
                f"models: {code} gives probabilities, which sum to 1; it must give logits, without "
                "a softmax."
            )
    with torch.enable_grad():
        trained = _called(code, model.eval(), images)  # in evaluation no statistics move
    if not (isinstance(trained, Tensor) and trained.requires_grad):
        raise InputError(
            f"models: {code} gives outputs that carry no gradient to its weights; its code must "
            "not detach them."
        )
