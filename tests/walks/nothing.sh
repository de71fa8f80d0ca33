# Somebody without images, weights and network: all that is missing is said at once, and the demo works.
source "$(dirname "$0")/walk.sh"
clone
works "make setup" make setup
with "https_proxy=http://127.0.0.1:9" "http_proxy=http://127.0.0.1:9"
refused "make report without anything" 10 make report
shows "HAM10000_DIR" "SKINLESIONS_WEIGHTS_DIR" "data.external"
works "make demo" make demo
shows "build/demo/reports/index.html"
cd build/demo
works "what the demo has to show" ../../.venv/bin/python "$REPOSITORY/tests/walks/demo_learns.py"
cat "$OUTPUT"
