"""Small models, with the images that they are tested on."""

FAMILIES = {
    "lenet_100_50": (1, 8, 8),
    "lenet5": (1, 28, 28),
    "resnet8_slim": (2, 8, 8),
    "vgg5_slim": (1, 8, 8),
    "vit_nano": (1, 8, 8),
}
# Of a family like the ResNets, and of no small model: for what its own structure decides.
WIDE = {"wrn_22_2": (1, 8, 8)}
