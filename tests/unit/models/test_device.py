"""What is computed on, and why a GPU cannot be: with programs that stand for the driver's nvidia-smi."""

import os
from pathlib import Path

import pytest

from skinlesions.models import device

GPU = "NVIDIA A100-SXM4-80GB, 81920 MiB, 550.54.15"

pytestmark = pytest.mark.skipif(device.gpus() > 0, reason="these tests are about machines whose GPU cannot be used")


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Writes the shell script that is found as nvidia-smi."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def write(script: str) -> Path:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


def test_the_first_gpu_is_described_by_its_driver(driver):
    driver(f"echo '{GPU}'; echo 'another'")
    assert device.nvidia() == GPU


@pytest.mark.parametrize("script", ["exit 9", "echo 'NVIDIA-SMI has failed' >&2; exit 9", "true"])
def test_a_driver_that_fails_or_knows_none_is_no_gpu(driver, script):
    driver(script)
    assert device.nvidia() is None
    fault = device.fault()
    assert "no NVIDIA GPU" in fault and "presets/cpu.yaml" in fault


def test_a_gpu_that_the_backend_cannot_use_is_told_from_none(driver):
    driver(f"echo '{GPU}'")
    fault = device.fault()
    assert GPU in fault and "make setup DEVICE=gpu" in fault and "550.54.15" in fault and "presets/cpu.yaml" in fault


def test_a_variable_that_hides_the_gpu_is_named(driver, monkeypatch):
    driver(f"echo '{GPU}'")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES" in device.fault()


def test_the_first_line_says_device_memory_backend_and_precision():
    line = device.described("mixed_bfloat16")
    assert f"{os.cpu_count()} processor cores" in line and " GB)" in line
    assert "mixed_bfloat16" in line and any(backend in line for backend in ("tensorflow", "jax"))
