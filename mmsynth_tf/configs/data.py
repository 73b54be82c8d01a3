"""Settings of the prepared data, of structure maps and of augmentation. No TensorFlow here."""

import dataclasses

from mmsynth_tf import constants
from mmsynth_tf.configs.tree import setting
from mmsynth_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Format of a prepared data set; stored with the data set, from which models read it."""

    modalities: tuple[str, ...] = setting(constants.BRATS_MODALITIES, "Names of the modalities, in channel order.")
    labels: tuple[str, ...] = setting(
        constants.BRATS_LABELS, "Names of the label classes; the first is the background."
    )
    regions: dict[str, tuple[int, ...]] = setting(constants.BRATS_REGIONS, "Evaluation regions: name to label values.")
    slices: tuple[int, int, int] = setting(
        (0, 155, 2),
        "Axial slices kept, counted from the feet: start, stop (not kept) and step. By default every second one of the "
        "whole head, since lesions lie at any height and neighbours are almost equal.",
    )
    crop_rows: tuple[int, int] = setting((33, 225), "Rows (anterior to posterior) kept, start and stop, voxels.")
    crop_columns: tuple[int, int] = setting((24, 216), "Columns (right to left) kept, start and stop, voxels.")
    image_size: tuple[int, int] = setting((192, 192), "Rows and columns of a slice after resizing, pixels.")
    voxel_mm: tuple[float, float, float] = setting(
        (1.0, 1.0, 1.0), "Size of a voxel of the volumes: between slices, rows and columns, mm."
    )
    percentiles: tuple[float, float] = setting(
        (0.5, 99.5), "Percentiles of the head's voxels that map to the bottom of the range and to 1."
    )
    median: float = setting(
        0.0,
        "Target of the head's median after gamma correction, between 0 and 1; 0 keeps the scale linear.",
    )
    test_fraction: float = setting(0.1, "Share of the patients kept for testing.")
    validation_fraction: float = setting(0.0, "Share of the patients kept for validation.")
    split_seed: int = setting(0, "Seed of the split by patient.")

    def __post_init__(self):
        for names, what in ((self.modalities, "modalities"), (self.labels, "labels")):
            if len(set(names)) < len(names):
                raise UserError(f"data.{what} repeats a name: {', '.join(names)}. Give each name once.")
        reserved = sorted(set(self.modalities) & set(constants.RESERVED_NAMES))
        if reserved:
            raise UserError(
                f"A modality must not be called {', '.join(reserved)}, because that name is reserved. Choose another "
                "in data.modalities, and rename the files."
            )
        if len(self.voxel_mm) != 3 or min(self.voxel_mm) <= 0:
            raise UserError(f"data.voxel_mm is {self.voxel_mm}; give three sizes in mm, such as 1,1,1.")
        if len(self.slices) != 3 or self.slices[2] < 1:
            raise UserError(f"data.slices is {self.slices}; give start, stop and a step of at least 1, as in 0,155,2.")
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise UserError(f"data.image_size is {self.image_size}; give rows and columns, such as 192,192.")
        if len(self.percentiles) != 2 or not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise UserError(f"data.percentiles is {self.percentiles}; give two between 0 and 100, such as 0.5,99.5.")
        if not 0 <= self.median < 1:
            raise UserError(f"data.median is {self.median}; give a value between 0 and 1, or 0 for none.")
        for region, values in self.regions.items():
            unknown = sorted(set(values) - set(range(len(self.labels))))
            if unknown:
                raise UserError(
                    f"Region {region!r} in data.regions holds label {unknown[0]}, but data.labels names "
                    f"{len(self.labels)} labels, 0 to {len(self.labels) - 1}. Set data.regions to fit data.labels."
                )

    @property
    def slice_start(self) -> int:
        return self.slices[0]

    @property
    def slice_stop(self) -> int:
        return self.slices[1]

    @property
    def num_modalities(self) -> int:
        return len(self.modalities)

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    @property
    def height(self) -> int:
        return self.image_size[0]

    @property
    def width(self) -> int:
        return self.image_size[1]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distances between the prepared slices, their rows and their columns, mm."""
        between, row, column = self.voxel_mm
        (top, bottom), (right, left) = self.crop_rows, self.crop_columns
        return between * self.slices[2], row * (bottom - top) / self.height, column * (left - right) / self.width


@dataclasses.dataclass(frozen=True)
class StructureMapConfig:
    """Algorithms 1 and 2: structure map and background mask (method §1, §2)."""

    beta: float = setting(0.1, "Algorithm 1's threshold on the scaled Sobel maps; authors 0.07, later 0.12 and 0.035.")
    background_expand: int = setting(
        5,
        "Algorithm 2's p, for slices of 240 pixels: the head grows by about p/2 on each side. On other slices p scales "
        "with their size, to at least 1 pixel; 0 is none. Authors 5.",
    )
    fill_holes: bool = setting(True, "Dark regions that the head encloses belong to the head; paper: they do not.")


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
    """Random transforms: of labels (method §5), and of slices when classical augmentation is asked for."""

    scale: float = setting(0.1, "Largest relative change of size.")
    rotation: float = setting(15.0, "Largest rotation, degrees.")
    translation: float = setting(0.04, "Largest shift, share of the image size.")
    flip: bool = setting(True, "Mirror left to right at random.")

    def times(self, factor: float) -> "AugmentationConfig":
        """Returns a copy with scaling, rotation and translation multiplied by `factor`; mirroring is unchanged."""
        parts = {name: factor * getattr(self, name) for name in ("scale", "rotation", "translation")}
        return dataclasses.replace(self, **parts)
