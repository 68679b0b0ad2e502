"""Checkpoints survive a crash at any point: only whole ones count."""

import pytest
import torch

from kdspark.distill.checkpoint import load_checkpoint, save_checkpoint


def save(folder, *steps):
    for step in steps:
        save_checkpoint(folder, step, {"w": torch.full((3,), float(step)), "n": torch.tensor(step)}, {"step": step})


def test_the_latest_of_two_is_loaded(tmp_path):
    save(tmp_path, 1, 2, 10)
    tensors, state = load_checkpoint(tmp_path)
    assert state == {"step": 10}
    assert (tensors["w"].tolist(), int(tensors["n"])) == ([10.0] * 3, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{step:09d}.{kind}" for step in (2, 10) for kind in ("json", "safetensors")
    ]


def test_there_is_none(tmp_path):
    assert load_checkpoint(tmp_path) is None
    assert load_checkpoint(tmp_path / "missing") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.with_suffix(".safetensors").unlink(),
        lambda path: path.with_suffix(".safetensors").write_bytes(b""),
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text('{"sha256": "0"}'),
        lambda path: path.unlink(),
        lambda path: path.write_text(path.read_text().replace('"step": 2', '"step": 3')),
    ],
    ids=[
        "no tensors",
        "empty tensors",
        "torn JSON",
        "other JSON",
        "no state",
        "tensors alone: killed in between",
        "a flipped bit",
    ],
)
def test_a_damaged_newest_one_is_skipped(tmp_path, damage):
    save(tmp_path, 1, 2)
    damage(tmp_path / "step-000000002.json")
    assert load_checkpoint(tmp_path)[1] == {"step": 1}
