#!/usr/bin/env bash
# The whole pipeline on real cases with the `cpu` preset; leaves its records beside this file.
#
#   docs/results/cpu_17_cases.sh <folder with BraTS cases> <work folder>
#
# A step that is done is not done again, so the script can be stopped and started.
set -euo pipefail
cases=$1 work=$2
results=$(dirname "$0")/cpu_17_cases
python=${PYTHON:-python}
mkdir -p "$work" "$results"

step() { echo "$(date -u +%FT%TZ) $*" | sed "s#$work#work#g; s#$cases#cases#g" | tee -a "$work/steps.log"; "$python" "$@"; }
build() { [ -e "$1" ] || step datasets/build.py --preset=cpu --output="$1" "${@:2}"; }
train() { step train.py --preset=cpu --workdir="$1" --stage="$2" --data_dir="$3"; }

build "$work/real" --source=brats --input="$cases"
for stage in structure segmentation synthesis; do train "$work/models" $stage "$work/real"; done
generated=(--source=synthetic --workdir="$work/models" --labels_from="$work/real")
build "$work/synthetic" "${generated[@]}" --count=600
build "$work/unfiltered" "${generated[@]}" --count=200 --config.generation.dice_threshold=0
train "$work/on_synthetic" segmentation "$work/synthetic"
train "$work/on_both" segmentation "$work/real,$work/synthetic"
for models in models on_synthetic on_both; do
  step evaluate.py --experiment=segmentation --workdir="$work/$models" --test_data="$work/real"
  cp "$work/$models/evaluation/segmentation/records.csv" "$results/segmentation_$models.csv"
  cp "$work/$models/evaluation/segmentation/table.md" "$results/segmentation_$models.md"
done
step evaluate.py --experiment=lesion_check --workdir="$work/models" --test_data="$work/real" --synthetic_data="$work/unfiltered"
# A value a slice: Dice alone, or the file would hold megabytes.
grep -E '^experiment,|,dice,' "$work/models/evaluation/lesion_check/records.csv" > "$results/lesion_check.csv"
cp "$work/models/evaluation/lesion_check/table.md" "$results/lesion_check.md"
for stage in structure segmentation synthesis; do cp "$work/models/$stage/losses.csv" "$results/losses_$stage.csv"; done
cp "$work/synthetic/data_set.json" "$results/synthetic_data_set.json"
cp "$work/steps.log" "$results/steps.log"
