"""The cases of training.py: what one would write without this project, and what this project does.

Each function takes a case (a dictionary) and a device, and returns a function that takes one
training step. Deterministic networks are compared with a plain PyTorch loop fed by a DataLoader
with torchvision's transforms, Bayesian ones with torch-blue's own forward pass under vmap and its
sampled Kullback-Leibler loss.
"""

import math

IMAGES = 2000  # made up; enough that none is still in a cache when its turn comes again

# Cases by name; the first of each is what the others' ratios refer to.
DETERMINISTIC: dict[str, dict] = {
    "plain loop": {"kind": "plain"},
    "ours": {"kind": "ours"},
    "ours, bfloat16": {"kind": "ours", "precision": "bfloat16"},
    "ours, deterministic algorithms": {"kind": "ours", "deterministic": True},
    "ours, captured": {"kind": "ours", "capture": True},
}
BAYESIAN: dict[str, dict] = {
    "torch-blue": {"kind": "torch_blue"},
    "torch-blue, freed memory kept": {"kind": "torch_blue", "keep_memory": True},
    "ours": {"kind": "ours"},
    "ours, 4 of 10 held": {"kind": "ours", "held": 0.4},
    "ours, elbo": {"kind": "ours", "likelihood": "elbo"},
    "ours, deterministic algorithms": {"kind": "ours", "deterministic": True},
    "ours, bfloat16": {"kind": "ours", "precision": "bfloat16"},
    "ours, captured": {"kind": "ours", "capture": True},
    "ours, 4 of 10 held, bfloat16": {"kind": "ours", "held": 0.4, "precision": "bfloat16"},
}
QUICK = ("ours", "ours, 4 of 10 held")


def build(case: dict, device):
    """The step of `case`, as a function without arguments."""
    if case.get("keep_memory"):
        from bayesian_lottery.training.engine import keep_freed_memory

        keep_freed_memory()
    if "held" in case:
        case = {**case, "samples_held": round(case["held"] * case["samples"])}
    return {"plain": plain_loop, "ours": ours, "torch_blue": torch_blue}[case["kind"]](case, device)


def pictures():
    """Made-up uint8 images and labels."""
    import torch

    stream = torch.Generator().manual_seed(0)
    images = torch.randint(256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=stream)
    return images, torch.randint(10, (IMAGES,), generator=stream)


def plain_loop(case: dict, device):
    """What a user would write: images through PIL and torchvision one by one, float32."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from bayesian_lottery import models
    from bayesian_lottery.models import layers

    images, labels = pictures()
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.25,) * 3),
        ]
    )

    class Pictures(Dataset):
        arrays = images.permute(0, 2, 3, 1).numpy()

        def __len__(self):
            return len(labels)

        def __getitem__(self, index):
            return transform(Image.fromarray(self.arrays[index])), labels[index]

    loader = DataLoader(
        Pictures(), case["batch"], shuffle=True, drop_last=True, num_workers=case["workers"],
        pin_memory=device.type == "cuda", persistent_workers=case["workers"] > 0,
    )  # fmt: skip
    layers.MANY = math.inf  # linear layers as PyTorch has them
    model = models.build(case["model"], (3, 32, 32), 10, seed=0).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def batches():
        while True:
            yield from loader

    source = batches()

    def step():
        inputs, targets = (tensor.to(device, non_blocking=True) for tensor in next(source))
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()

    return step


def torch_blue(case: dict, device):
    """torch-blue under vmap; without running statistics, which it cannot keep."""
    import torch
    from torch_blue.vi import KullbackLeiblerLoss
    from torch_blue.vi.distributions import Categorical

    from bayesian_lottery import models
    from bayesian_lottery.inference import bayesian
    from bayesian_lottery.models.layers import BatchNorm2d

    module = bayesian.convert(models.build(case["model"], (3, 32, 32), 10, seed=0)).to(device)
    for layer in module.modules():
        if isinstance(layer, BatchNorm2d):
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(layer, name, None)
    module.return_log_probs = True
    criterion = KullbackLeiblerLoss(Categorical(), dataset_size=50_000, heat=0.1)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    next_batch = our_batches(case, device)

    def step():
        inputs, targets = next_batch()
        optimizer.zero_grad()
        criterion(module(inputs, samples=case["samples"]), targets).backward()
        optimizer.step()

    return step


def our_batches(case: dict, device):
    """Batches as the training loop makes them."""
    import torch

    from bayesian_lottery.data.decoded import augment, channel_statistics, normalise

    images, labels = (tensor.to(device) for tensor in pictures())
    mean, std = channel_statistics(images)
    stream = torch.Generator(device).manual_seed(0)

    def next_batch():
        chosen = torch.randint(IMAGES, (case["batch"],), device=device)
        inputs = augment(images[chosen], stream, flip=True, crop=4)
        return normalise(inputs, mean, std), labels[chosen]

    return next_batch


def ours(case: dict, device):
    """The steps of `loop.train`; jobs ask for deterministic algorithms besides."""
    from bayesian_lottery import models
    from bayesian_lottery.inference import networks
    from bayesian_lottery.tickets import masks
    from bayesian_lottery.training import devices
    from bayesian_lottery.training.engine import Plan, keep_freed_memory

    devices.set_algorithms(case.get("deterministic", False))
    if device.type == "cpu":
        keep_freed_memory()
    template = models.build(case["model"], (3, 32, 32), 10, seed=0).to(device)
    options = {"initial_std": 0.01, "prior_std": 1.0, "samples": case["samples"], "heat": 0.1}
    options["likelihood"] = case.get("likelihood", "categorical")
    network = networks.build(case["inference"], template, options)
    network.load(network.state(), masks.ones(models.prunable(template)))
    keys = ("samples_per_pass", "samples_held", "precision", "capture")
    plan = Plan(**{k: case[k] for k in keys if k in case})
    return steps_of([network], plan, case["batch"], (3, 32, 32))


def steps_of(built, plan, batch: int, shape: tuple[int, int, int]):
    """A function that takes a step of networks side by side, on made-up images of `shape`."""
    import itertools

    import torch

    from bayesian_lottery.data.decoded import Images, Split, channel_statistics
    from bayesian_lottery.inference import packs
    from bayesian_lottery.randomness import generator
    from bayesian_lottery.training.batches import Batches
    from bayesian_lottery.training.curricula import Curriculum
    from bayesian_lottery.training.engine import Engine
    from bayesian_lottery.training.steps import Step
    from bayesian_lottery.training.targets import Labels

    device, stream = built[0].survivors.like.device, generator("images")
    pixels = torch.randint(256, (IMAGES, *shape), dtype=torch.uint8, generator=stream)
    split = Split(pixels.to(device), (torch.arange(IMAGES) % 10).to(device))
    mean, std = channel_statistics(split.images)
    images = Images("made up", tuple("0123456789"), split, split, mean, std)
    streams = [["benchmark", number] for number in range(len(built))]
    batches = Batches(images, split, batch, {"flip": True, "crop": 4}, streams)
    pack = packs.pack(built)
    engine = Engine(pack, shape, plan)
    curriculum = Curriculum(1, "adam", 1e-3, 1e-4, batch, (), 0.1, 0, 0.9)
    optimizer = curriculum.build_optimizer(pack.parameter_groups(1e-4))
    draws = [generator(*each, "weights", device=device) for each in streams]
    step, numbers = Step(engine, optimizer, batches, Labels(), draws, 50_000), itertools.count()
    return lambda: step(next(numbers), 1e-3)
