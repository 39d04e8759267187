"""One small model of each family, with the images that it is tested on."""

FAMILIES = {
    "lenet_100_50": (1, 8, 8),
    "lenet5": (1, 28, 28),
    "resnet8_slim": (2, 8, 8),
    "vgg5_slim": (1, 8, 8),
    "wrn_22_2": (1, 8, 8),
    "vit_nano": (1, 8, 8),
}
