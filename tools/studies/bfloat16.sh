#!/usr/bin/env bash
# Compares stages trained in mixed bfloat16 and in float32 on real cases with the `cpu` preset; writes its records to
# docs/experiments/records/.
#
#   tools/studies/bfloat16.sh <folder with BraTS cases> <work folder>
#
# Both sets of slices without a lesion filter are judged by the segmenters in float32. A step that is done is not done
# again, so the script can be stopped and started.
set -euo pipefail
cases=$1 work=$2
results=$(dirname "$0")/../../docs/experiments/records/bfloat16
python=${PYTHON:-python}
mkdir -p "$work" "$results"

build() { [ -e "$1" ] || "$python" datasets/build.py --preset=cpu --output="$1" "${@:2}"; }
evaluate() { "$python" evaluate.py --experiment="$1" --workdir="$work/models_$2" --test_data="$work/real" "${@:3}"; }

build "$work/real" --source=cases --input="$cases" --config.data.slices=50,105,1
for precision in float32 mixed_bfloat16; do
  models=$work/models_$precision
  for stage in structure segmentation synthesis; do
    "$python" train.py --preset=cpu --workdir="$models" --stage=$stage --data_dir="$work/real" --config.runtime.precision=$precision
  done
  build "$work/$precision" --source=synthetic --workdir="$models" --labels_from="$work/real" --count=200 --config.generation.dice_threshold=0
  evaluate segmentation $precision
  cp "$models/evaluation/segmentation/table.md" "$results/segmentation_$precision.md"
done
sets=$work/float32,$work/mixed_bfloat16
evaluate lesion_check float32 --synthetic_data="$sets"
cp "$work/models_float32/evaluation/lesion_check/table.md" "$results/lesion_check.md"
evaluate fidelity float32 --synthetic_data="$sets" --seeds=0,1,2
for table in "$work/models_float32/evaluation/fidelity"/*.md; do
  cp "$table" "$results/fidelity_$(basename "$table")"
done
