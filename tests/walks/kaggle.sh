# Somebody with Kaggle's copy: two folders of images and the metadata, without a test set, and files of weights.
source "$(dirname "$0")/walk.sh"
needs_images
needs_weights
clone
works "make setup" make setup
kaggle="$SCRATCH/from kaggle"
for part in HAM10000_images_part_1 HAM10000_images_part_2; do
    works "$part unpacked" .venv/bin/python -m zipfile -e "$GIVEN_IMAGES/$part.zip" "$kaggle/$part"
done
cp "$GIVEN_IMAGES/HAM10000_metadata.csv" "$kaggle"
with "HAM10000_DIR=$kaggle" "SKINLESIONS_WEIGHTS_DIR=$GIVEN_WEIGHTS" "https_proxy=http://127.0.0.1:9"
keep_one_model
refused "make report asks for the test set, which is not here" 10 make report
shows "data.external" "dataverse"
works "no test set" .venv/bin/python "$REPOSITORY/tests/walks/one_model.py" no-test-set
commit_all
works "make report, one frozen model" make report
works "the report agrees with itself" make check-report
works "nothing is left to do" make status
