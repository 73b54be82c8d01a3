"""Where the real data behind samples and models comes from, and on which terms both may be shared.

All functions take records of data sets, the content of data_set.json, as data sets and work directories keep them.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from mmsynth_tf.reading import splits

Record = Mapping[str, Any]

# Columns of `cells`.
HEADER = ("release", "patients (train / validation / test)", "built")


@dataclasses.dataclass(frozen=True)
class Terms:
    """What the owner of a release asks for.

    Attributes:
      text: how data derived from it may be used, and what to cite.
      licence: name and address of the public licence that the release and everything derived from it is under; None if
        there is none.
    """

    text: str
    licence: tuple[str, str] | None = None


# By the start of a release's name.
_TERMS = {
    "brats": Terms(
        "for registered users only. Use and share what is derived from it only as the release's terms allow. "
        "Cite Menze et al. 2015 and Bakas et al. 2017, 2018."
    ),
    "decathlon": Terms(
        "Medical Segmentation Decathlon, Task01 (http://medicaldecathlon.com), made from cases of BraTS 2016 and 2017, "
        "CC BY-SA 4.0: share alike, and cite Antonelli et al. 2022 (Nature Communications 13, 4128), Simpson et al. "
        "2019 (arXiv:1902.09063), Menze et al. 2015 and Bakas et al. 2017.",
        (
            "Creative Commons Attribution-ShareAlike 4.0 International",
            "https://creativecommons.org/licenses/by-sa/4.0/",
        ),
    ),
    "phantom": Terms("simulated patients on the ICBM 152 2009a anatomy (Fonov et al. 2011); no patient's data."),
}
_OTHER_TERMS = Terms("the terms of that data also hold for what is derived from it; ask its owner before you share it.")


def cells(record: Record) -> list[str]:
    """The cells of `HEADER`; only training patients contribute."""
    patients = " / ".join(
        str(len({record["patients"].get(case, case) for case in record["split"].get(split, ())}))
        for split in (splits.TRAIN, splits.VALIDATION, splits.TEST)
    )
    return [record["release"], patients, record["created"]]


def releases(data_records: Iterable[Record]) -> list[str]:
    """Sorted names of the releases of all real data behind data sets, also through synthetic ones."""
    found = set()
    for record in data_records:
        inner = record.get("generation")
        found |= set(releases(of_generation(inner))) if inner else set(record["release"].split("+"))
    return sorted(found)


def of_generation(generation: Record) -> list[Record]:
    """Records of the data sets that the models and labels of a synthetic set come from."""
    return [record for stage in generation["trained_on"].values() for record in stage] + [generation["labels_from"]]


def terms(release: str) -> Terms:
    """The terms of a release."""
    return next((terms for start, terms in _TERMS.items() if release.startswith(start)), _OTHER_TERMS)


def terms_list(names: Iterable[str]) -> str:
    """The terms of some releases as a list in Markdown."""
    return "\n".join(f"- {name}: {terms(name).text}" for name in names)
