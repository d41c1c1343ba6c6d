"""Facts about a data set."""

from dataclasses import dataclass

from advdpnp.data.augment import Augmentation
from advdpnp.ranges import Count, Natural, Share, check_fields


@dataclass(frozen=True)
class DataSpec:
    """Facts about one data set.

    Args:
        name: what it is called.
        image_shape: (channels, H, W).
        class_names: one for each class.
        train_size: training images; 0 for a set that is only tested on.
        test_size: test images.
        eps: the field's usual l_inf radius, for images in [0, 1].
        holdout: training images that the recipe `default` holds out.
        augmentation: the field's usual crop and flip.
        levels: the integer that stands for 1.0.
    """

    name: str
    image_shape: tuple[Count, Count, Count]
    class_names: tuple[str, ...]
    train_size: Natural
    test_size: Natural
    eps: Share
    holdout: Natural
    augmentation: Augmentation
    levels: Count = 255

    def __post_init__(self) -> None:
        check_fields(self, "data")

    @property
    def num_classes(self) -> int:
        return len(self.class_names)
