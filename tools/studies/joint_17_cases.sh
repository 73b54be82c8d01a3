#!/usr/bin/env bash
# What training sets of real cases are worth to one segmenter of all modalities, with the `cpu` preset.
#
#   tools/studies/joint_17_cases.sh <folder with BraTS cases> <work folder>
#
# STEPS, SEEDS and ROWS are flags of the experiment. Units that are done are not done again, so the script can be stopped
# and started; the records go to docs/experiments/records/joint_17_cases/ each time it ends.
set -euo pipefail
cases=$1 work=$2
root=$(dirname "$0")/../..
python=${PYTHON:-python}
[ -e "$work/real" ] || "$python" "$root/datasets/build.py" --source=cases --preset=cpu --input="$cases" --output="$work/real"
"$python" "$root/evaluate.py" --experiment=segmentation_gain --workdir="$work" --test_data="$work/real" \
  --steps="${STEPS:-3000}" --seeds="${SEEDS:-0,1,2}" --rows="${ROWS:-}"
mkdir -p "$root/docs/experiments/records/joint_17_cases"
cp "$work/evaluation/segmentation_gain/records.csv" "$work/evaluation/segmentation_gain/records.json" \
  "$root/docs/experiments/records/joint_17_cases/"
