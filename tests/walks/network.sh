# Somebody with nothing but a network: images and test set from Dataverse, weights from Keras' server. Both are servers
# on this machine that have other copies of the files, so first their hashes are refused; then the walk pins theirs.
source "$(dirname "$0")/walk.sh"
needs_images
needs_weights
clone
works "make setup" make setup
.venv/bin/python "$REPOSITORY/tests/walks/servers.py" "$GIVEN_IMAGES" "$GIVEN_WEIGHTS" "$SCRATCH" >"$SCRATCH/address" &
trap 'kill %1; rm -rf "$SCRATCH"' EXIT
until [ -s "$SCRATCH/address" ]; do sleep 0.1; done
proxy=$(cat "$SCRATCH/address")
with "https_proxy=$proxy" "HTTPS_PROXY=$proxy" "REQUESTS_CA_BUNDLE=$SCRATCH/certificate.pem" "SSL_CERT_FILE=$SCRATCH/certificate.pem"
keep_one_model
refused "other files than the published ones" 60 make report
shows "MD5"
works "the pins of this walk's copies" .venv/bin/python "$REPOSITORY/tests/walks/pins.py" "$GIVEN_IMAGES"
commit_all
works "make report, one frozen model" make report
shows "HAM10000_images_part_1.zip" "ISIC2018_Task3_Test"
works "the report agrees with itself" make check-report
