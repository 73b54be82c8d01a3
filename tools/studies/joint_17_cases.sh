#!/usr/bin/env bash
# What training sets of real cases are worth to one segmenter of all modalities, with the `cpu` preset.
#
#   tools/studies/joint_17_cases.sh <folder with BraTS cases> <work folder>
#
# STEPS, SEEDS, ROWS and SPLIT are flags of the experiment. SETS names its synthetic sets, separated by commas. SLICES
# chooses the patients' slices (start,stop,step). Measured units lie in docs/experiments/records/joint_17_cases/, a
# folder for each choice of settings. They are not measured again, so the study can be stopped and continued, also on
# another machine from the repository alone.
set -euo pipefail
cases=$1 work=$2
root=$(dirname "$0")/../..
python=${PYTHON:-python} slices=${SLICES:-0,155,2}
records=$root/docs/experiments/records/joint_17_cases units=$work/evaluation/segmentation_gain/units
data=$work/real_${slices//,/-}
mkdir -p "$records" "$units"
cp -r "$records/." "$units/"
trap 'cp -r "$units/." "$records/"' EXIT
[ -e "$data" ] || "$python" "$root/datasets/build.py" --source=cases --preset=cpu --input="$cases" --output="$data" \
  --config.data.slices="$slices"
"$python" "$root/evaluate.py" --experiment=segmentation_gain --workdir="$work" --test_data="$data" \
  --steps="${STEPS:-3000}" --seeds="${SEEDS:-0,1,2}" --rows="${ROWS:-}" --split="${SPLIT:-test}" ${SETS:+--synthetic_data="$SETS"}
