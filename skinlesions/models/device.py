"""What the networks are computed on, and why an NVIDIA GPU that is there cannot be used."""

import os
import subprocess

import keras

QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")

# Seconds in which the driver must answer.
PATIENCE = 5


def gpus() -> int:
    """How many GPUs Keras' backend can use."""
    return len(keras.distribution.list_devices("gpu"))


def nvidia() -> str | None:
    """The first NVIDIA GPU as its driver describes it: name, memory, version of the driver; None if there is none."""
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def described(precision: str) -> str:
    """A line for the beginning of a run: device, its memory, the backend, the precision.

    Args:
        precision: of fine-tuning, as params.yaml has it.
    """
    if count := gpus():
        device = f"{count} GPU{'s' if count > 1 else ''} ({nvidia() or 'of a kind that nvidia-smi does not know'})"
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        device = f"{os.cpu_count()} processor cores ({memory:.0f} GB)"
    return f"Computing on {device} by {keras.backend.backend()}, fine-tuning in {precision}."


def fault() -> str | None:
    """Why there is no GPU to compute on, and what to do; None if there is one."""
    if gpus():
        return None
    ways = "Or run `skinlesions params cpu` (presets/cpu.yaml), which needs none, and set train.device to any"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES hides every GPU from this process; unset it. {ways}"
    found = nvidia()
    backend = keras.backend.backend()
    if found is None:
        return f"train.device is gpu, and this machine has no NVIDIA GPU: nvidia-smi finds none. {ways}"
    return (
        f"an NVIDIA GPU is here ({found}), but {backend} cannot use it: its CUDA libraries are missing (`make setup "
        f"DEVICE=gpu` installs them) or newer than the driver ({found.rpartition(',')[2].strip()}) supports. {ways}"
    )
