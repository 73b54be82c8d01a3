"""What can be wrong with a case, in words for the person who has to mend it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something wrong with a case. Warnings leave the case usable."""

    case_id: str
    file: str
    text: str
    remedy: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"Case {self.case_id}, {self.file}: {self.text}. {self.remedy}."
