# Somebody who changes something: on the sample, a model removed, a model added, a package of another version.
source "$(dirname "$0")/walk.sh"
clone
works "make report PRESET=sample" make report PRESET=sample
works "make status" make status
works "a model removed" .venv/bin/python -c '
import yaml
params = yaml.safe_load(open("params.yaml"))
del params["models"]["mobilenet_v2"]
params["explain"]["models"] = ["mobilenet_v2_fine_tuned"]
yaml.safe_dump(params, open("params.yaml", "w"), sort_keys=False)'
works "make report" make report
shows "Running stage 'compare'"
hides "Running stage '(train|features|balance)"
works "a model added" .venv/bin/python -c '
import yaml
params = yaml.safe_load(open("params.yaml"))
params["models"]["wider"] = {"inputs": "features/mobilenet_v2.npy", "head": {"hidden_units": 128}}
yaml.safe_dump(params, open("params.yaml", "w"), sort_keys=False)'
works "make report" make report
shows "Running stage 'train@wider'"
hides "Running stage '(train@mobilenet|features|balance)"
works "a package of another version" .venv/bin/python -m pip install --quiet --no-deps "scikit-image==0.25.2"
works "make status" make status
shows "split.*scikit-image"
