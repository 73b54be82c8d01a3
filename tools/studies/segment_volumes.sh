#!/usr/bin/env bash
# Dice of `mmsynth segment` on whole volumes: five folds, each with a joint segmenter of the other patients (preset `cpu`).
#
#   tools/studies/segment_volumes.sh <folder with BraTS cases> <work folder>
#
# STEPS, FOLDS, SPLIT (test; validation for choices) and SLICES (start,stop,step of the training slices) can be set in the
# environment. A step that is done is not done again, so the study can be stopped and started. Records lie in
# docs/experiments/records/segment_volumes/<split>_<steps>_<slices>/.
set -euo pipefail
cases=$1 work=$2
root=$(dirname "$0")/../..
python=${PYTHON:-python} steps=${STEPS:-3000} split=${SPLIT:-test} slices=${SLICES:-0,155,2}
kind=${steps}_${slices//,/-}
records=$root/docs/experiments/records/segment_volumes/${split}_$kind
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
for fold in ${FOLDS:-0 1 2 3 4}; do
  data=$work/fold_${fold}_${slices//,/-} models=$work/models_${fold}_$kind run=$work/run_${fold}_$kind
  [ -e "$data" ] || "$python" "$root/datasets/build.py" --source=cases --preset=cpu --input="$cases" --fold="$fold" \
    --config.data.slices="$slices" --output="$data"
  [ -e "$models" ] || {
    "$python" "$root/train.py" --stage=joint --preset=cpu --data_dir="$data" --workdir="$run" --config.joint.steps="$steps"
    "$python" -m mmsynth_tf.export --workdir="$run" --output="$models"
  }
  "$python" -m tools.studies.segment_volumes --models="$models" --input="$cases" --data="$data" --split="$split" \
    --output="$records/fold$fold.csv"
done
