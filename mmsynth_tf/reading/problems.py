"""Problems of a case, described for the person who has to fix them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Problem:
    """A problem of a case. A case with warnings only is usable."""

    case_id: str
    file: str
    text: str
    remedy: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"Case {self.case_id}, {self.file}: {self.text}. {self.remedy}."
