"""Bone-length ratios: identity at first, one bone by hand, sides that share, cycles."""

from __future__ import annotations

import pytest
import torch

from flexpose.geometry import FILL
from flexpose.kinematics import KinematicTransfer
from flexpose.models.keypoint_generator import box_normalised
from flexpose.skeleton import Skeleton, bone_tree, load_skeleton, skeleton_names


def poses_of(skeleton, n=4, seed=0):
    random = torch.Generator().manual_seed(seed)
    return box_normalised(torch.randn(n, skeleton.num_joints, 2, generator=random))


def lengths(poses, bones):
    return torch.stack([(poses[:, b] - poses[:, a]).norm(dim=1) for a, b in bones], dim=1)


@pytest.mark.parametrize("name", skeleton_names())
def test_a_new_transfer_changes_nothing(name):
    skeleton = load_skeleton(name)
    poses = poses_of(skeleton)
    assert torch.allclose(KinematicTransfer(skeleton)(poses), poses, atol=1e-5)


def test_one_bone_by_hand():
    chain = Skeleton(name="chain", joints=("a", "b", "c"), edges=((0, 1), (1, 2)))
    transfer = KinematicTransfer(chain)
    with torch.no_grad():
        transfer.log_ratio[0] = torch.tensor(2.0).log()
    pose = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]])
    # a-b doubles, b-c moves along: (0, 0), (2, 0), (2, 1), then boxed to a width of 2 FILL
    expected = (
        torch.tensor([[[0.0, 0.0], [2.0, 0.0], [2.0, 1.0]]]) - torch.tensor([1.0, 0.5])
    ) * FILL
    assert torch.allclose(transfer(pose), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["body15", "coco17", "face68"])
def test_every_tree_bone_is_scaled_by_its_ratio(name):
    skeleton = load_skeleton(name)
    transfer, bones = KinematicTransfer(skeleton), bone_tree(skeleton)
    with torch.no_grad():
        transfer.log_ratio.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(1))
    poses = poses_of(skeleton)
    change = lengths(transfer(poses), bones) / lengths(poses, bones)
    relative = change / change[:, :1]  # the box puts one common factor on all
    ratios = transfer.ratios() / transfer.ratios()[0]
    assert torch.allclose(relative, ratios.expand_as(relative), rtol=1e-3)


@pytest.mark.parametrize("name", [n for n in skeleton_names() if load_skeleton(n).symmetric_pairs])
def test_left_and_right_bones_share_a_ratio(name):
    skeleton = load_skeleton(name)
    transfer, flip = KinematicTransfer(skeleton), skeleton.flip_index
    with torch.no_grad():
        transfer.log_ratio.copy_(torch.arange(len(transfer.log_ratio)) / 10)
    found = {frozenset(b): r for b, r in zip(bone_tree(skeleton), transfer.ratios(), strict=True)}
    shared = 0
    for bone, ratio in found.items():
        mirrored = frozenset(flip[j] for j in bone)
        if mirrored != bone and mirrored in found:
            assert found[mirrored] == ratio
            shared += 1
    assert shared
    assert len(transfer.log_ratio) < len(found)


def test_the_tree_reaches_every_joint_once_from_the_root():
    for name in skeleton_names():
        skeleton = load_skeleton(name)
        children = [child for _, child in bone_tree(skeleton)]
        assert len(set(children)) == len(children)
        assert skeleton.root not in children
        edges = {frozenset(edge) for edge in skeleton.edges}
        assert all(frozenset(bone) in edges for bone in bone_tree(skeleton))


def test_cycles_lose_one_edge_and_loose_parts_keep_their_place():
    ring = Skeleton(
        name="ring",
        joints=("a", "b", "c", "alone", "x", "y"),
        edges=((0, 1), (1, 2), (2, 0), (4, 5)),
        root=1,
    )
    assert bone_tree(ring) == [(1, 0), (1, 2), (4, 5)]
    transfer = KinematicTransfer(ring)
    poses = poses_of(ring)
    assert torch.allclose(transfer(poses), poses, atol=1e-6)


def test_the_result_is_box_normalised_and_gradients_are_finite():
    skeleton = load_skeleton("face68")
    transfer = KinematicTransfer(skeleton)
    with torch.no_grad():
        transfer.log_ratio.add_(0.3)
    out = transfer(poses_of(skeleton))
    low, high = out.amin(dim=1), out.amax(dim=1)
    assert torch.allclose((high - low).amax(dim=1), torch.full((4,), 2 * FILL), atol=1e-5)
    assert torch.allclose(low + high, torch.zeros(4, 2), atol=1e-5)
    out.square().sum().backward()
    assert transfer.log_ratio.grad.isfinite().all()
    assert transfer.log_ratio.grad.abs().sum() > 0


def test_gradients_agree_with_differences(puppet):
    transfer = KinematicTransfer(puppet).double()
    poses = poses_of(puppet, 2).double().requires_grad_(True)
    assert torch.autograd.gradcheck(transfer, poses)
