#!/usr/bin/env bash
# The whole study on real cases with the `cpu` preset; writes its records to docs/experiments/records/.
#
#   tools/studies/usability_17_cases.sh <folder with BraTS cases> <work folder>
#
# A step that is done is not done again, so the script can be stopped and started.
# SEEDS and STEPS are the seeds and training steps of the segmenters of the usability experiment, in all its rows; ROWS
# are its rows in the first split, with as many synthetic slices as there are real ones. SPLITS are seeds of further
# splits of the patients (test patients of 0, 4 and 19 are all different), SPLIT_ROWS the rows that are trained in every
# split on three times as many, besides the row of lesions put into real slices.
# usability_warped_lesions.csv is of labels warped before they were moved, which 142d6ee could do and was dropped.
# DESIGNS are the lesion designs beside the preset's, DESIGN_FLAGS further flags of their trainings (shorter ones, say;
# then name 4seg, too).
# On a CPU two processes of one thread each (TF_NUM_INTRAOP_THREADS=1) are faster than one of two: any command of the
# script can be run by itself beside another, and the script then finds it done.
set -euo pipefail
cases=$1 work=$2
results=$(dirname "$0")/../../docs/experiments/records/usability_17_cases
python=${PYTHON:-python}
seeds=${SEEDS:-0,1}
designs=${DESIGNS-1seg 1ecl_4dcl}
rows=${ROWS:-real_1,real_1_synthetic_1,real_1_augmented_1,synthetic_1,real_0.1_synthetic_1,real_1_synthetic_0.5,real_1_augmented_0.5,real_0.5,real_0.5_synthetic_0.5,real_1_synthetic_1_synthetic_first,real_1_synthetic_1_real_first}
splits=${SPLITS-4 19}
split_rows=${SPLIT_ROWS:-real_1,real_1_synthetic_3,real_1_augmented_3,real_1_synthetic_3_augmented_3}
mkdir -p "$work" "$results"

step() { echo "$(date -u +%FT%TZ) $*" | sed "s#$work#work#g; s#$cases#cases#g" | tee -a "$work/steps.log"; "$python" "$@"; }
build() { [ -e "$1" ] || step datasets/build.py --preset=cpu --output="$1" "${@:2}"; }
train() { step train.py --preset=cpu --workdir="$1" --stage="$2" --data_dir="$3" "${@:4}"; }
unfiltered() { build "$2" --source=synthetic --workdir="$1" --labels_from="$work/real" --count=200 --config.generation.dice_threshold=0; }
# Experiment and test data follow; what it prints and records goes to the results.
evaluate() { step evaluate.py --experiment="$1" --protocol=paper --workdir="$work/models" --test_data="$work/real" "${@:2}"; }
keep() { cp "$work/models/evaluation/$1/$2" "$results/$1${3:-.${2##*.}}"; }

build "$work/real" --source=cases --input="$cases" --config.data.slices=50,105,1
for stage in structure segmentation synthesis; do
  train "$work/models" $stage "$work/real"
  cp "$work/models/$stage/losses.csv" "$results/losses_$stage.csv"
done
# As many as the training slices, which usability calls 1, and some more.
build "$work/synthetic" --source=synthetic --workdir="$work/models" --labels_from="$work/real" --count=640
cp "$work/synthetic/data_set.json" "$results/synthetic_data_set.json"
unfiltered "$work/models" "$work/unfiltered"
sets=$work/unfiltered
for design in $designs; do
  other=$work/models_$design
  mkdir -p "$other"
  [ -e "$other/structure" ] || ln -s ../models/structure "$other/structure"
  # shellcheck disable=SC2086 # Flags are split at spaces.
  train "$other" segmentation "$work/real" --config.segmentation.design="$design" ${DESIGN_FLAGS:-}
  # shellcheck disable=SC2086
  train "$other" synthesis "$work/real" --config.segmentation.design="$design" ${DESIGN_FLAGS:-}
  unfiltered "$other" "$work/unfiltered_$design"
  sets=$sets,$work/unfiltered_$design
done
evaluate segmentation
keep segmentation records.csv; keep segmentation table.md
evaluate lesion_check --synthetic_data="$sets"
# One value a slice: whole-tumour Dice only, or the file would hold megabytes. Usability: Dice only.
grep -E '^experiment,|,WT,dice,' "$work/models/evaluation/lesion_check/records.csv" > "$results/lesion_check.csv"
keep lesion_check table.md
evaluate fidelity --synthetic_data="$work/unfiltered" --seeds=0,1,2
evaluate memorisation --synthetic_data="$work/synthetic"
evaluate translation
for experiment in fidelity memorisation translation; do
  for table in "$work/models/evaluation/$experiment"/*.md; do keep $experiment "$(basename "$table")" "_$(basename "$table")"; done
done
evaluate usability --synthetic_data="$work/synthetic" --rows="$rows" --seeds="$seeds" ${STEPS:+--steps="$STEPS"}
grep -E '^experiment,|,dice,' "$work/models/evaluation/usability/records.csv" > "$results/usability.csv"
for table in table by_modality comparison; do keep usability $table.md _$table.md; done
# Records of an experiment in a split, into a file of the results: the metrics named, and the header once.
collect() {
  awk -v seed="$split" -v metrics=",($3)," 'NR == 1 { if (seed == 0) print $0 ",split" } $0 ~ metrics { print $0 "," seed }' \
    "$models/evaluation/$1/records.csv" >> "$results/$2"
}
# Makes a set of the split's models by some flags, and tries rows with it.
measure() {
  local set=$work/$1_split$split rows=$2 records=$3
  build "$set" --source=synthetic --workdir="$models" --labels_from="$data" --count=1900 "${@:4}"
  step evaluate.py --experiment=usability --protocol=paper --workdir="$models" --test_data="$data" --synthetic_data="$set" --rows="$rows" \
    --seeds="$seeds" ${STEPS:+--steps="$STEPS"}
  collect usability "$records" dice
}
# Each split with generators and segmenters of its own; the first one has them already.
rm -f "$results"/usability_{splits,real_anatomy}.csv "$results/translation_splits.csv"
for split in 0 $splits; do
  models=$work/models data=$work/real
  if [ "$split" != 0 ]; then
    models=$work/models_split$split data=$work/real_split$split
    build "$data" --source=cases --input="$cases" --config.data.slices=50,105,1 --config.data.split_seed="$split"
    for stage in structure segmentation synthesis; do train "$models" $stage "$data"; done
  fi
  step evaluate.py --experiment=translation --workdir="$models" --test_data="$data"
  collect translation translation_splits.csv 'dice|psnr|ssim'
  measure synthetic "$split_rows" usability_splits.csv
  measure inserted real_1_synthetic_3 usability_real_anatomy.csv --config.generation.real_anatomy
done
