"""The tool that runs the documents' commands: what is a command, and what keeps it from running."""

import subprocess
import sys
from pathlib import Path

from tools import run_documented_commands as documents

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = """# Page

```sh
python train.py --stage=$stage --data_dir=data/a,data/b --workdir=runs/a   # comment
for stage in a b; do
  python train.py --stage=$stage
done
python datasets/build.py --count=2000 --preset=cpu \\
    --output=data/a
```

<!-- not run: needs two machines -->
```sh
export TF_CONFIG=1
```

```text
no command
```
"""


def commands(folder: Path) -> list[documents.Command]:
    (folder / "page.md").write_text(PAGE)
    return list(documents.commands(folder, "page.md"))


def test_a_command_is_a_line_a_continued_line_or_a_loop(tmp_path):
    first, loop, build, export = commands(tmp_path)
    assert first.bare == "python train.py --stage=$stage --data_dir=data/a,data/b --workdir=runs/a"
    assert loop.text == "for stage in a b; do\n  python train.py --stage=$stage\ndone"
    assert build.text == "python datasets/build.py --count=2000 --preset=cpu \\\n    --output=data/a"
    assert [command.reason for command in (first, loop, build, export)] == ["", "", "", "needs two machines"]


def test_a_command_needs_what_it_reads_and_not_what_it_writes(tmp_path):
    (tmp_path / "data" / "a").mkdir(parents=True)
    train, *_ = commands(tmp_path)
    assert documents.missing(train.text, tmp_path) == ["data/b"]
    evaluate = "python evaluate.py --workdir=runs/a --test_data=data/a"
    assert documents.missing(evaluate, tmp_path) == ["runs/a"]
    assert documents.missing("tools/studies/x.sh BraTS2018/ work/", tmp_path) == ["BraTS2018/"]


def test_shortened_commands_keep_their_other_flags():
    text = "python datasets/build.py --count=2000 --preset=cpu --output=data/a"
    assert documents.shortened(text, "s") == "python datasets/build.py --count=120 --flagfile=s --output=data/a"
    text = "python evaluate.py --experiment=usability --seeds=0,1,2"
    short = "python evaluate.py --steps=4 --experiment=usability --rows=real_1 --seeds=0"
    assert documents.shortened(text, "s") == short
    assert documents.shortened(f"{text} --rows=a", "s") == f"{short.replace('--rows=real_1 ', '')} --rows=a"


def test_all_commands_of_the_documents_are_listed():
    result = subprocess.run(
        [sys.executable, "-m", "tools.run_documented_commands", "--list"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "runs README.md make demo" in result.stdout
    assert "needs BraTS2018/ README.md python datasets/build.py --source=cases" in result.stdout
    assert "needs two machines docs/training.md export TF_CONFIG" in result.stdout
