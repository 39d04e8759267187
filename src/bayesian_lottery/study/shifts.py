"""The names of corruptions of test images, and their strengths, as the configuration has them.

To add one, add a function of that name to `training.corruptions`, and its strengths here. Lengths
are shares of the image's width, so that they mean the same at 8 and at 224 pixels.
"""

# Three strengths each: of noise the deviation (images are 0 to 1), of blur and translation shares
# of the width, of contrast the share lost, of rotation degrees.
STRENGTHS: dict[str, tuple[float, float, float]] = {
    "noise": (0.05, 0.1, 0.2),
    "blur": (0.02, 0.04, 0.06),
    "contrast": (0.25, 0.5, 0.75),
    "rotation": (10, 20, 30),
    "translation": (0.05, 0.1, 0.15),
}
