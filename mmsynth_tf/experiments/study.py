"""The request of an experiment, and its folder of stored results, so that finished parts are not recomputed."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mmsynth_tf import constants, prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading import file_search, splits
from mmsynth_tf.reports import report
from mmsynth_tf.reports.finished import EVALUATION, RECORDS_FILE, TABLES_FILE
from mmsynth_tf.storage import atomic, records
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import checkpoints


@dataclasses.dataclass(frozen=True)
class Request:
    """The inputs and options of an experiment.

    Attributes:
      workdir: work directory with the trained stages.
      real: prepared data of real patients; its split `split` is tested.
      synthetic: prepared synthetic data sets.
      split: split of `real` that is tested.
      seeds: repetitions, for experiments that train.
      rows: names of the rows to run, for experiments that have a choice; empty for all.
      steps: training steps of each run, for experiments that train; None takes those of the work directory's
        segmenters.
      protocol: which segmenters experiments train that have a choice: joint ones (`constants.JOINT`), or those of the
        paper's tables (`constants.PAPER`).
      trained_on: prepared data of real patients. Its train split trained the models, and experiments train on it and
        compare with it; `real` if not given.
    """

    workdir: pathlib.Path
    real: prepared.PreparedData
    synthetic: tuple[prepared.PreparedData, ...] = ()
    split: str = "test"
    seeds: tuple[int, ...] = (0,)
    rows: tuple[str, ...] = ()
    steps: int | None = None
    protocol: str = constants.JOINT
    trained_on: prepared.PreparedData | None = None

    def __post_init__(self):
        names = [data_name(data) for data in self.data_sets]
        if len(set(names)) < len(names):
            raise UserError(f"Folders of data sets must have different names; rename one of {names}.")
        if self.trained_on:
            prepared.require_same_geometry(self.trained_on, self.real.config, str(self.real.path))

    @property
    def data_sets(self) -> tuple[prepared.PreparedData, ...]:
        """All data sets of the request, the tested one first."""
        return (self.real, *self.synthetic, *([self.trained_on] if self.trained_on else []))

    @property
    def training(self) -> prepared.PreparedData:
        """The data set whose train split experiments train on and compare with.

        Raises:
          UserError: the data set has no training patients.
        """
        data = self.trained_on or self.real
        if not data.cases.get(splits.TRAIN):
            raise UserError(
                f"{data.path} has no training patients. Name the data set that the models were trained on with "
                "--train_data."
            )
        return data


class Study:
    """The folder of one experiment: ``<workdir>/evaluation/<name>``.

    Args:
      name: name of the experiment.
      request: its request.
      stages: trained stages of the work directory that it uses; empty if it uses only the settings.
      **settings: other settings that the results depend on, JSON values.

    Attributes:
      folder: folder of the experiment.
      parts: subfolder for results with exactly these inputs.
    """

    def __init__(self, name: str, request: Request, stages: Sequence[str], **settings: Any):
        self.name = name
        self.folder = pathlib.Path(request.workdir) / EVALUATION / name
        inputs = {
            "data": [data.record for data in request.data_sets],
            "split": request.split,
            "checkpoints": checkpoints.checkpoint_hashes(request.workdir, stages),
            "settings": settings,
        }
        # Results for other data, models or settings are in other folders, so they are never mixed up with these.
        key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]
        self.parts = self.folder / "parts" / key

    def part(self, name: str, measure: Callable[[], Iterable[Record]]) -> list[Record]:
        """The records of one part: read from disk if they exist, otherwise computed and stored."""
        path = self.parts / f"{name}.json"
        if not path.is_file():
            records.write_json(path, [{"experiment": self.name, **row} for row in measure()])
        return records.read_json(path)

    def finish(self, rows: Sequence[Record], tables: Mapping[str, report.Table]) -> dict[str, report.Table]:
        """Writes all records (JSON, CSV) and tables (Markdown, CSV, LaTeX) by name; returns the tables."""
        records.write_json(self.folder / RECORDS_FILE, rows)
        records.write_csv(self.folder / "records.csv", rows)
        for name, table in tables.items():
            atomic.write_text(self.folder / f"{name}.md", table.markdown())
            atomic.write_text(self.folder / f"{name}.tex", table.latex())
            cells = [dict(zip(table.header, line, strict=True)) for line in table.texts()]
            records.write_csv(self.folder / f"{name}.csv", cells)
        whole = {name: dataclasses.asdict(table) for name, table in tables.items()}
        atomic.write_text(self.folder / TABLES_FILE, json.dumps(whole, indent=1))
        return dict(tables)


def data_name(data: prepared.PreparedData) -> str:
    """A data set's name in records: its folder name without the path, which differs between machines."""
    return file_search.as_given(data.path).name
