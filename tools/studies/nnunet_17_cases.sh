#!/usr/bin/env bash
# Trains nnU-Net v2 as an outside judge on real cases, with preset `cpu`: on real slices, and on
# real slices with pasted and with painted lesions.
#
#   tools/studies/nnunet_17_cases.sh <folder with BraTS cases> <work folder>
#
# NNUNET is the folder of nnU-Net's commands (a virtual environment of its own with the package nnunetv2), TRAINER one of
# its trainers, FOLD the fold whose patients are tested, KINDS the sets beside the real one. All sets are trained with the
# plan of the real one, so the networks and batches are the same. Finished steps are not repeated.
set -euo pipefail
cases=$1 work=$2
root=$(dirname "$0")/../..
python=${PYTHON:-python} nnunet=${NNUNET:+$NNUNET/} trainer=${TRAINER:-nnUNetTrainer_5epochs} fold=${FOLD:-0}
records=$root/docs/experiments/records/nnunet_17_cases/${trainer}_fold$fold
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} nnUNet_compile=f
export nnUNet_raw=$work/raw nnUNet_preprocessed=$work/preprocessed nnUNet_results=$work/results
mkdir -p "$nnUNet_raw" "$nnUNet_preprocessed" "$nnUNet_results"
build() { [ -e "$1" ] || "$python" "$root/datasets/build.py" --preset=cpu --output="$1" "${@:2}"; }
raw() { [ -e "$nnUNet_raw/$1" ] || "$python" -m mmsynth_tf.cli nnunet --data="$work/real" --output="$nnUNet_raw/$1" "${@:2}"; }

# Each finished step leaves a file.
once() { [ -e "$work/$1.done" ] || { "${@:2}" && touch "$work/$1.done"; }; }
train() { "${nnunet}nnUNetv2_train" "$1" 2d 0 -tr "$trainer" -p "$2" -device cpu; }
predict() {
  "${nnunet}nnUNetv2_predict" -i "$nnUNet_raw/$1/imagesTs" -o "$work/predicted_$1" -d "$1" -c 2d -f 0 -tr "$trainer" -p "$2" \
    -device cpu -npp 1 -nps 1 --disable_tta
}
plan() { "${nnunet}nnUNetv2_plan_and_preprocess" -d "$1" -c 2d -np 1 -npfp 1 --verify_dataset_integrity; }
plan_as_real() {
  "${nnunet}nnUNetv2_extract_fingerprint" -d "$1" -np 1 --verify_dataset_integrity &&
    "${nnunet}nnUNetv2_move_plans_between_datasets" -s Dataset501_real -t "$1" -sp nnUNetPlans -tp PlansOfReal &&
    "${nnunet}nnUNetv2_preprocess" -d "$1" -plans_name PlansOfReal -c 2d -np 1
}
# Data set, its kind and plan.
score() {
  cp "$nnUNet_raw/$1/splits_final.json" "$nnUNet_preprocessed/$1/"
  once "trained_$2" train "$1" "$3"
  once "predicted_$2" predict "$1" "$3"
  "$python" -m tools.studies.nnunet_scores "$work/real" "$work/predicted_$1" "$records/$2.csv"
}

build "$work/real" --source=cases --input="$cases" --fold="$fold"
raw Dataset501_real
once planned_real plan Dataset501_real
score Dataset501_real real nnUNetPlans
number=501
for kind in ${KINDS-pasted painted}; do
  number=$((number + 1)) name=Dataset${number}_$kind
  build "$work/$kind" --source="$kind" --labels_from="$work/real" --count=1900
  raw "$name" --synthetic_data="$work/$kind"
  once "planned_$kind" plan_as_real "$name"
  score "$name" "$kind" PlansOfReal
done
