# Somebody who asks for the GPU's preset on a machine without one.
source "$(dirname "$0")/walk.sh"
clone
works "make setup" make setup
refused "make report PRESET=gpu" 10 make report PRESET=gpu
shows "GPU" "presets/cpu.yaml"
