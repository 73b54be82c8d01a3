"""Names and label schemes that the whole package shares. Imports nothing heavy.

The canonical label scheme is that of BraTS 2015 (method §0): 0 background,
1 necrotic core, 2 oedema, 3 non-enhancing tumour, 4 enhancing tumour. Every
release is mapped to it when a case is read.
"""

DISCLAIMER = "Research software. Not for clinical use."

BRATS_MODALITIES = ("t1", "t2", "t1c", "flair")
BRATS_LABELS = (
    "background",
    "necrotic core",
    "oedema",
    "non-enhancing tumour",
    "enhancing tumour",
)
# Evaluation regions on the canonical scheme: whole tumour, tumour core, enhancing tumour.
BRATS_REGIONS = {"WT": (1, 2, 3, 4), "TC": (1, 3, 4), "ET": (4,)}

# Side of the paper's slices, pixels. Lengths of its algorithms refer to this size.
PAPER_SIZE = 240

# Stages, in the order in which they are trained.
STRUCTURE = "structure"
SEGMENTATION = "segmentation"
JOINT = "joint"
SYNTHESIS = "synthesis"
STAGES = (STRUCTURE, SEGMENTATION, JOINT, SYNTHESIS)
# Those of the paper.
PAPER_STAGES = (STRUCTURE, SEGMENTATION, SYNTHESIS)

# Formulations of a stage: the one that measured best, the best of unregistered slices, and the draft's.
MEASURED = "measured"
UNREGISTERED = "unregistered"
PAPER = "paper"

# How slices get one more lesion without a trained stage: cut out of another slice, or painted from statistics.
PASTED, PAINTED = "pasted", "painted"

# Augmentation of training slices: none; small affine transforms; nnU-Net's 2D transforms.
UNCHANGED, WEAK, STRONG = "none", "weak", "strong"

# Lesion processor designs (paper §2.7).
ONE_SEGMENTER = "1seg"
SHARED_ENCODER = "1ecl_4dcl"
SEGMENTER_PER_MODALITY = "4seg"
LESION_DESIGNS = (ONE_SEGMENTER, SHARED_ENCODER, SEGMENTER_PER_MODALITY)

# Normalisation in discriminators; instance: that of the slices' and maps' alone.
NONE, SPECTRAL, INSTANCE, INSTANCE_EVERYWHERE = "none", "spectral", "instance", "instance_everywhere"
DISCRIMINATOR_NORMALIZATIONS = (NONE, SPECTRAL, INSTANCE, INSTANCE_EVERYWHERE)

# File that describes a prepared data set: the DataConfig it was built with, its split, its source.
DATA_SET_RECORD = "data_set.json"

# Stands in for the modality, in results, where all of them count together.
ALL_MODALITIES = "all"
# That, and values of examples and exported functions: names that no modality can have.
RESERVED_NAMES = (
    *(ALL_MODALITIES, "code", "position", "structure", "background", "label", "noise", "contrast"),
    *("image", "images", "target", "probabilities"),
)

# Standard deviations of Gaussians across slices, mm, so that made volumes are about as rough as real ones
# (docs/experiments/records/slice_consistency.md).
TRANSLATED_BLUR = 0.5
SYNTHESISED_BLUR = 0.75
