# Somebody who only wants to know whether the tables follow from the predictions.
source "$(dirname "$0")/walk.sh"
clone
works "from the clone to 'all tables agree'" make verify
shows "^all [0-9]+ files follow"
sed -i '2s/[0-9]\{3\}\b/999/' reports/tables/compare/comparison.csv
refused "a table edited by hand" 120 make verify
shows "comparison.csv, row 1"
