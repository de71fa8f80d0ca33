# Somebody with a photograph: the published model answers in a fresh clone, without data, parameters or a run.
source "$(dirname "$0")/walk.sh"
clone
photograph="$SCRATCH/a photo é.png"
python3 "$REPOSITORY/tests/walks/photograph.py" "$photograph"
if [ ! -e models/published/model.json ]; then
    works "make demo, whose model stands in: none is published yet" make demo
    cp build/demo/models/published/* models/published
fi
works "make predict" make predict PHOTO="$photograph"
shows "a photo é"
cat "$OUTPUT"
