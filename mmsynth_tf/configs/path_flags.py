"""Command-line flags that hold paths. `~` is the home folder in all of them: a shell does not expand it after `=`."""

import os
from collections.abc import Sequence

from absl import flags

flags.disclaim_key_flags()  # The flags belong to the programs that define them here; --help lists a program's own.


class _PathParser(flags.ArgumentParser):
    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)

    def flag_type(self) -> str:
        return "path"


class _PathsParser(flags.ListParser):
    def parse(self, argument: str | list[str]) -> list[str]:
        return [os.path.expanduser(path) for path in super().parse(argument)]


def define_path(
    name: str, default: str | None, text: str, required: bool = False
) -> flags.FlagHolder[str] | flags.FlagHolder[str | None]:
    """Defines a flag for one path."""
    return flags.DEFINE(_PathParser(), name, default, text, serializer=flags.ArgumentSerializer(), required=required)


def define_paths(
    name: str, default: Sequence[str] | None, text: str, required: bool = False
) -> flags.FlagHolder[list[str]] | flags.FlagHolder[list[str] | None]:
    """Defines a flag for several paths, with commas between them."""
    return flags.DEFINE(_PathsParser(), name, default, text, serializer=flags.ListSerializer(","), required=required)
