"""Takes every backbone and model but `mobilenet_v2` out of params.yaml; with `no-test-set`, the test set too."""

import sys
from pathlib import Path

import yaml

path = Path("params.yaml")
params = yaml.safe_load(path.read_text(encoding="utf-8"))
params["backbones"] = {"mobilenet_v2": params["backbones"]["mobilenet_v2"]}
params["models"] = {"mobilenet_v2": {"inputs": "features/mobilenet_v2.npy"}}
params["split"]["duplicates"]["backbone"] = "mobilenet_v2"
params["balance"]["backbone"] = params["leakage"]["backbone"] = "mobilenet_v2"
params["compare"]["ensemble"] = "all"
params["publish"]["model"] = None
params["explain"] |= {"model": "mobilenet_v2", "models": ["mobilenet_v2"]}
if "no-test-set" in sys.argv:
    params["data"]["external"] = None
path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
