#!/usr/bin/env bash
# How many further patients pasted and synthetic slices are worth, on real cases with the `cpu` preset.
#
#   tools/studies/curve_17_cases.sh <folder with BraTS cases> <work folder>
#
# STEPS, SEEDS and ROWS are flags of the experiment. FOLDS and SIZES choose the subsets whose generators are trained. A
# size is a number of patients or `all`; SIZES= trains none, and rows that need generators are then left out.
# Everything that is done is kept, so the script can be stopped and continued. Measured units lie in
# docs/experiments/records/, those of all patients with those of joint_17_cases.sh, which are shared.
set -euo pipefail
cases=$1 work=$2
root=$(dirname "$0")/../..
python=${PYTHON:-python}
keep() { mkdir -p "$1" "$2" && cp -r "$1/." "$2/"; }
records=$root/docs/experiments/records
keep "$records/curve_17_cases" "$work/evaluation/curve/units"
keep "$records/joint_17_cases" "$work/evaluation/segmentation_gain/units"
trap 'keep "$work/evaluation/curve/units" "$records/curve_17_cases"
  keep "$work/evaluation/segmentation_gain/units" "$records/joint_17_cases"' EXIT
build() { [ -e "$1" ] || "$python" "$root/datasets/build.py" --preset=cpu --output="$1" "${@:2}"; }

build "$work/real" --source=cases --input="$cases"
sets=
for fold in ${FOLDS-0 1 2}; do
  for size in ${SIZES-2 4 8 all}; do
    name=fold${fold}_$size
    few=()
    [ "$size" = all ] || few=(--train_patients="$size")
    build "$work/real_$name" --source=cases --input="$cases" --fold="$fold" "${few[@]}"
    for stage in structure segmentation joint synthesis; do
      "$python" "$root/train.py" --preset=cpu --workdir="$work/models_$name" --stage="$stage" --data_dir="$work/real_$name"
    done
    made() { build "$work/$1_$name" --source=synthetic --workdir="$work/models_$name" --labels_from="$work/real_$name" "${@:2}"; }
    made noise --count=1900
    made made --count=1900 --config.generation.real_anatomy
    sets=$sets,$work/noise_$name,$work/made_$name
  done
done
"$python" "$root/evaluate.py" --experiment=curve --workdir="$work" --test_data="$work/real" --synthetic_data="${sets#,}" \
  --steps="${STEPS:-3000}" --seeds="${SEEDS:-0,1,2}" --rows="${ROWS:-}"
