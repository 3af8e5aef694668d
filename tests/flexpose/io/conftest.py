from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from flexpose.io.coco import write_coco
from flexpose.io.npz import write_npz
from flexpose.io.zarr_store import write_store
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton


@pytest.fixture
def trio() -> Skeleton:
    """Three joints, two of them a pair."""
    return Skeleton(
        name="trio",
        joints=("head", "left_hand", "right_hand"),
        edges=((0, 1), (0, 2)),
        symmetric_pairs=((1, 2),),
        oks_sigmas=(0.03, 0.06, 0.06),
        category="puppet",
    )


@pytest.fixture
def poses(trio: Skeleton) -> PoseSet:
    """Three poses in two images, the second joint of the second pose not labelled."""
    keypoints = np.array(
        [
            [[10, 10], [20.25, 30], [30, 30.75]],
            [[40, 12], [0, 0], [60, 40]],
            [[5, 5], [8, 44], [63, 47]],
        ]
    )
    return PoseSet(
        skeleton=trio,
        keypoints=keypoints,
        visibility=[[2, 2, 1], [2, 0, 1], [1, 2, 2]],
        image_size=(64, 48),
        image_ids=("a/one.png", "a/one.png", "b/two.png"),
        source=("made by hand",),
    )


@pytest.fixture
def find_data() -> Callable[[str], Path]:
    """Path of a file of the public datasets; skips where they are not at hand."""
    folder = Path(os.environ.get("FLEXPOSE_DATA", Path(__file__).parents[4] / "shared" / "data"))

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"{name} is not in {folder}; set FLEXPOSE_DATA to the datasets")
        return folder / name

    return find


# ---------------------------------------------------------------- one sample of every form

ARM = [f"{name}_{side}" for side in "LR" for name in ("UpperArm", "LowerArm", "Hand")]
LEG = [f"{name}_{side}" for side in "LR" for name in ("UpperLeg", "LowerLeg", "Foot")]


def body() -> PoseSet:
    points = np.arange(60.0).reshape(2, 15, 2) % 7
    return PoseSet.create(load_skeleton("body15"), points, (8, 8), source=("made by hand",))


def numbers(*shape: int) -> np.ndarray:
    """Positions from 20 to 220, all different."""
    return np.linspace(20, 220, int(np.prod(shape))).reshape(shape)


def saved_mat(path: Path, compressed: bool = True, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, arrays, do_compression=compressed)
    return path


def saved_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def saved_text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def coco(folder: Path) -> Path:
    write_coco(body(), folder / "a.json")
    return folder / "a.json"


def official_coco(folder: Path) -> Path:
    """As COCO's own ``person_keypoints_val2017.json``: crowds, polygons, people without joints."""
    names = list(load_skeleton("coco17").joints)
    triples = np.dstack([numbers(1, 17, 2).round(), np.full((1, 17, 1), 2)])
    triples[0, :2] = ((0, 0, 0), (30, 40, 1))
    person = {
        "segmentation": [[20.5, 20.5, 220.5, 20.5, 220.5, 220.5]],
        "num_keypoints": 16,
        "area": 19_876.25,
        "iscrowd": 0,
        "keypoints": triples.astype(int).ravel().tolist(),
        "image_id": 785,
        "bbox": [20.5, 20.5, 200.0, 200.25],
        "category_id": 1,
        "id": 442_619,
    }
    crowd = {
        "segmentation": {"counts": [9, 3, 276_468], "size": [427, 640]},
        "num_keypoints": 0,
        "area": 3,
        "iscrowd": 1,
        "keypoints": [0] * 51,
        "image_id": 785,
        "bbox": [0, 9, 3, 1],
        "category_id": 1,
        "id": 900_100_000_785,
    }
    document = {
        "info": {"description": "COCO 2017 Dataset", "version": "1.0", "year": 2017},
        "licenses": [{"url": "http://example.org", "id": 4, "name": "Attribution License"}],
        "images": [
            {
                "license": 4,
                "file_name": "000000000785.jpg",
                "coco_url": "http://example.org/000000000785.jpg",
                "height": 427,
                "width": 640,
                "date_captured": "2013-11-19 21:22:42",
                "flickr_url": "http://example.org/1.jpg",
                "id": 785,
            }
        ],
        "annotations": [person, crowd],
        "categories": [
            {
                "supercategory": "person",
                "id": 1,
                "name": "person",
                "keypoints": names,
                "skeleton": [[16, 14], [14, 12], [17, 15]],
            }
        ],
    }
    return saved_text(folder / "person_keypoints_val2017.json", json.dumps(document))


def own_npz(folder: Path) -> Path:
    write_npz(body(), folder / "a.npz")
    return folder / "a.npz"


def zarr(folder: Path) -> Path:
    write_store(body(), folder / "a.zarr")
    return folder / "a.zarr"


def coco_npz(folder: Path) -> Path:
    keypoints = np.ones((2, 17, 3), np.int16)
    return saved_npz(
        folder / "a.npz",
        image_id=np.array([1, 2]),
        bbox_xywh=np.ones((2, 4), np.float32),
        keypoints=keypoints,
        image_wh=np.full((2, 2), 9),
        wh_uncertain=np.zeros(2, bool),
    )


def jhmdb_npz(folder: Path) -> Path:
    return saved_npz(
        folder / "a.npz",
        clip=np.array(["a/b", "a/b"]),
        frame=np.arange(2),
        joints=numbers(2, 15, 2),
        joint_names=np.array(load_skeleton("jhmdb15").joints),
        clips=np.array(["a/b"]),
        grade=np.array(["A"]),
    )


def jhmdb_folder(folder: Path) -> Path:
    saved_mat(folder / "golf" / "one" / "joint_positions.mat", pos_img=numbers(2, 15, 3))
    return folder


def lsp(folder: Path) -> Path:
    return saved_mat(folder / "joints.mat", joints=np.ones((3, 14, 2)))


def lspet(folder: Path) -> Path:
    return saved_mat(folder / "joints.mat", joints=np.ones((14, 3, 2)))


def mpii_csv(folder: Path) -> Path:
    values = ",".join(["7"] * 32)
    return saved_text(folder / "a.csv", f"a.jpg,{values}\nb.jpg,{values}\n")


def mpii_json(folder: Path) -> Path:
    person = {"image": "a.jpg", "joints": numbers(16, 2).tolist(), "joints_vis": [1] * 16}
    return saved_text(folder / "a.json", json.dumps([person, person]))


def struct(**fields: Any) -> np.ndarray:
    """A MATLAB structure of one entry; ``stacked`` joins several."""
    entry = np.empty((1, 1), dtype=[(name, object) for name in fields])
    for name, value in fields.items():
        entry[name][0, 0] = value
    return entry


def stacked(*entries: np.ndarray) -> np.ndarray:
    return np.concatenate(entries, axis=1)


def mpii_mat(folder: Path) -> Path:
    points = stacked(
        *(
            struct(x=10.0 + joint, y=20.0 + joint, id=joint, is_visible=flag)
            for joint, flag in ((0, 1), (1, 0), (8, np.empty((0, 0))))
        )
    )
    rect = struct(x1=1, y1=1, x2=4, y2=5, annopoints=struct(point=points))
    empty = struct(x1=1, y1=1, x2=4, y2=5, annopoints=np.empty((0, 0)))
    annolist = stacked(
        struct(image=struct(name="a.jpg"), annorect=np.empty((0, 0))),
        struct(image=struct(name="b.jpg"), annorect=stacked(empty, rect)),
    )
    acts = stacked(
        struct(cat_name=np.empty(0), act_name=np.empty(0), act_id=-1),
        struct(cat_name="sports", act_name="curling", act_id=3),
    ).T
    release = struct(annolist=annolist, img_train=np.array([[0, 1]]), act=acts)
    return saved_mat(folder / "mpii.mat", RELEASE=release)


def penn_mat(folder: Path) -> Path:
    return saved_mat(
        folder / "0007.mat",
        x=numbers(2, 13),
        y=numbers(2, 13),
        visibility=np.ones((2, 13), np.uint8),
        bbox=np.ones((2, 4)),
        dimensions=np.array([[48, 64, 2]], np.uint16),
        action="bowl",
    )


def penn_folder(folder: Path) -> Path:
    (folder / "Penn_Action" / "frames" / "0007").mkdir(parents=True)
    (folder / "Penn_Action" / "labels").mkdir()
    penn_mat(folder / "Penn_Action" / "labels")
    return folder / "Penn_Action"


def penn_npz(folder: Path) -> Path:
    return saved_npz(
        folder / "penn.npz",
        sequence=np.array(["0007"]),
        length=np.array([2]),
        action=np.array(["bowl"]),
        height_width=np.array([[48, 64]]),
        xy=numbers(2, 13, 2),
        visibility=np.ones((2, 13)),
        bbox=np.ones((2, 4)),
        joint_names=np.array(load_skeleton("penn13").joints),
    )


def mocap(folder: Path) -> Path:
    names = np.array(["Neck", "Head", *ARM, *LEG])
    return saved_npz(
        folder / "a.npz",
        xyz=numbers(2, 14, 3) / 200,
        clip=np.array(["a", "a"]),
        joints=names,
        parents=np.zeros(14, int),
    )


def bvh_text() -> str:
    """A rig of Bandai-Namco's names with legs of two times 40 units, and two frames."""

    def limb(names: list[str], step: str, depth: int) -> list[str]:
        pad = "\t" * depth
        if not names:
            return [f"{pad}End Site", f"{pad}{{", f"{pad}\tOFFSET {step}", f"{pad}}}"]
        inner = limb(names[1:], step, depth + 1)
        turns = f"{pad}\tCHANNELS 3 Zrotation Xrotation Yrotation"
        return [
            f"{pad}JOINT {names[0]}",
            f"{pad}{{",
            f"{pad}\tOFFSET {step}",
            turns,
            *inner,
            f"{pad}}}",
        ]

    down = "0 -40.0 0"
    lines = ["HIERARCHY", "ROOT Hips", "{", "\tOFFSET 0 0 0"]
    lines += ["\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"]
    lines += limb(["Spine", "Neck", "Head"], "0 20.0 0", 1)
    for side in "LR":
        lines += limb([f"{name}_{side}" for name in ("UpperLeg", "LowerLeg", "Foot")], down, 1)
        lines += limb([f"{name}_{side}" for name in ("UpperArm", "LowerArm", "Hand")], down, 1)
    channels = 6 + 3 * (3 + 12)
    still = " ".join(["0"] * (channels - 6))
    rows = [f"0 90 {x} 0 0 0 {still}" for x in (0, 10)]
    return "\n".join([*lines, "}", "MOTION", "Frames: 2", "Frame Time: 0.03", *rows]) + "\n"


def bvh(folder: Path) -> Path:
    return saved_text(folder / "walk.bvh", bvh_text())


def h36m_2d(folder: Path) -> Path:
    view = numbers(2, 17, 2).astype(np.float32)
    sides = [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]]
    return saved_npz(
        folder / "data_2d_h36m_gt.npz",
        positions_2d={"S1": {"Directions 1": [view] * 4}},
        metadata={"layout_name": "h36m", "num_joints": 17, "keypoints_symmetry": sides},
    )


def h36m_3d(folder: Path) -> Path:
    world = numbers(2, 32, 3).astype(np.float32) / 200
    return saved_npz(folder / "data_3d_h36m.npz", positions_3d={"S9": {"Posing": world}})


H36M_NAMES = (
    "S1/S1_Directions_1.54138969/S1_Directions_1.54138969_000001.jpg",
    "S9/S9_Posing.55011271/S9_Posing.55011271_000006.jpg",
)


def h36m_mmpose(folder: Path) -> Path:
    return saved_npz(
        folder / "h36m_train.npz",
        imgname=np.array(H36M_NAMES),
        center=np.ones((2, 2)),
        scale=np.ones(2),
        part=numbers(2, 17, 3),
        S=np.ones((2, 17, 4)),
    )


H36M_COCO_JOINTS = [
    "root (pelvis)",
    *(f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "knee", "foot")),
    *("spine", "thorax", "neck_base", "head"),
    *(f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist")),
]


def h36m_coco(folder: Path) -> Path:
    triples = np.dstack([numbers(1, 17, 2), np.ones((1, 17, 1))])
    image = {"id": 1, "file_name": H36M_NAMES[0], "width": 1000, "height": 1002}
    document = {
        "categories": [
            {"id": 1, "name": "person", "keypoints": H36M_COCO_JOINTS, "skeleton": [[0, 1]]}
        ],
        "images": [image],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "keypoints": triples.ravel().tolist(),
                "num_keypoints": 17,
                "bbox": [20, 20, 200, 200],
                "area": 40000,
                "iscrowd": 0,
            }
        ],
    }
    return saved_text(folder / "h36m_coco.json", json.dumps(document))


def saved_hdf5(path: Path, matlab: bool = False, **arrays: Any) -> Path:
    """An HDF5 file, or one of MATLAB 7.3: a header before it, and axes in reverse order."""
    h5py = pytest.importorskip("h5py")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512 if matlab else 0) as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array).T if matlab else array
    if matlab:
        with path.open("r+b") as header:
            header.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def h36m_fetch(folder: Path) -> Path:
    arrays = {
        "pose/2d": numbers(4, 32, 2),
        "pose/3d": np.ones((4, 32, 3)),
        "subject": np.full(4, 1),
        "action": np.full(4, 2),
        "subaction": np.full(4, 1),
        "camera": np.repeat([54138969, 55011271], 2),
        "frame": np.array([1, 9, 1, 9]),
        "intrinsics/54138969": np.ones(4),
    }
    saved_hdf5(folder / "S1" / "Directions-1" / "annot.h5", **arrays)
    return folder


def h36m_world(folder: Path) -> Path:
    world = numbers(2, 32, 3).reshape(2, 96).T
    path = folder / "h36m" / "S9" / "MyPoses" / "3D_positions" / "Posing 1.h5"
    saved_hdf5(path, **{"3D_positions": world})
    return folder / "h36m"


def simple_h36m(folder: Path) -> Path:
    for frame in (1, 12):
        place = folder / "S1" / "Landmarks" / "Directions 1.54138969" / f"{frame}.mat"
        saved_mat(place, keypoints_2d=numbers(32, 2) / 300)
    return folder


def cells(count: int, *shape: int) -> np.ndarray:
    found = np.empty((count, 1), dtype=object)
    for number in range(count):
        found[number, 0] = numbers(*shape) + number
    return found


def mpi3dhp_train(folder: Path) -> Path:
    saved_mat(
        folder / "S1" / "Seq2" / "annot.mat",
        annot2=cells(14, 2, 56),
        annot3=cells(14, 2, 84),
        cameras=np.arange(14),
        frames=np.arange(2),
    )
    return folder


def mpi3dhp_test(folder: Path) -> Path:
    return saved_mat(
        folder / "TS5" / "annot_data.mat",
        annot2=numbers(2, 17, 1, 3),
        valid_frame=np.array([[0, 1, 1]]),
    )


def mpi3dhp_test_73(folder: Path) -> Path:
    return saved_hdf5(
        folder / "TS1" / "annot_data.mat",
        matlab=True,
        annot2=numbers(2, 17, 1, 3),
        annot3=np.ones((3, 17, 1, 3)),
        univ_annot3=np.ones((3, 17, 1, 3)),
        valid_frame=np.array([[0.0, 1, 1]]),
        activity_annotation=np.ones((1, 3)),
    )


def mpi3dhp_npz(folder: Path) -> Path:
    return saved_npz(
        folder / "train.npz",
        imgname=np.array(["S4_Seq2_Cam0_001033.jpg", "TS6_000001.jpg"]),
        center=np.ones((2, 2)),
        part=numbers(2, 17, 3),
    )


def surreal_clip(folder: Path) -> Path:
    return saved_mat(
        folder / "01_01_c0001_info.mat",
        joints2D=numbers(2, 24, 3).astype(np.float32),
        joints3D=np.ones((3, 24, 3), np.float32),
        zrot=np.ones((3, 1), np.float32),
        sequence="01_01_c0001",
    )


def surreal_folder(folder: Path) -> Path:
    surreal_clip(folder / "train" / "run0" / "01_01")
    return folder


def uncompressed_mat(folder: Path) -> Path:
    """MATLAB's older files have no checksum that would find damaged bytes."""
    return saved_mat(folder / "02_01_c0003_info.mat", compressed=False, joints2D=numbers(2, 24, 2))


def rhd_entry(number: int) -> dict[str, Any]:
    """Both hands before a camera, all joints seen."""
    return {
        "uv_vis": np.concatenate([numbers(42, 2) + number, np.ones((42, 1))], axis=1),
        "xyz": np.ones((42, 3), np.float32),
        "K": np.array([[300.0, 0, 160], [0, 300, 160], [0, 0, 1]]),
    }


def rhd_file(folder: Path) -> Path:
    content = {number: rhd_entry(number) for number in range(3)}
    (folder / "anno_evaluation.pickle").write_bytes(pickle.dumps(content, protocol=2))
    return folder / "anno_evaluation.pickle"


def rhd_folder(folder: Path) -> Path:
    (folder / "evaluation").mkdir()
    rhd_file(folder / "evaluation")
    return folder


def hand3d_file(folder: Path) -> Path:
    hands = [
        {
            "name": f"part1/{number}.jpg",
            "sample_id": number,
            "without_object": number,
            "keypoint2d": numbers(21, 2).tolist(),
            "keypoint3d": numbers(21, 3).tolist(),
            "intrinsic_matrix": np.eye(3).tolist(),
        }
        for number in range(2)
    ]
    return saved_text(folder / "annotation.json", json.dumps(hands))


def hand3d_folder(folder: Path) -> Path:
    (folder / "H3D_crop").mkdir()
    return hand3d_file(folder / "H3D_crop").parent


def pts_text(points: np.ndarray, ending: str = "\n") -> str:
    rows = [f"{x:.3f} {y:.3f}" for x, y in points]
    lines = ["version: 1", f"n_points: {len(rows)}", "{", *rows, "}"]
    return "".join(line + ending for line in lines)


def pts_file(folder: Path) -> Path:
    return saved_text(folder / "indoor_001.pts", pts_text(numbers(68, 2)))


def pts_clips(folder: Path) -> Path:
    """Two clips of 300-VW, and the list of a bad frame of one of them."""
    for clip, frames in (("001", (1, 2)), ("401", (7, 8))):
        (folder / clip / "annot").mkdir(parents=True)
        for frame in frames:
            text = pts_text(numbers(68, 2) + frame, "\r\n")
            saved_text(folder / clip / "annot" / f"{frame:06d}.pts", text)
    np.save(folder / "broken_frames.npy", {"401": [7, 9]}, allow_pickle=True)
    return folder


def wflw_line(image: str, box: bool = True) -> str:
    values = [f"{value:.6f}" for value in numbers(98, 2).ravel()]
    corners = ["18", "19", "221", "222", "1", "0", "0", "0", "1", "0"] if box else []
    return " ".join([*values, *corners, image]) + "\n"


def wflw(folder: Path) -> Path:
    # not of one length: half a file is then no whole line
    text = wflw_line("37--Soccer/37_Soccer_soccer_ball_37_45.jpg") + wflw_line("7--Cheering/a.jpg")
    return saved_text(folder / "list_98pt_rect_attr_test.txt", text)


def wflw_subset(folder: Path) -> Path:
    line = wflw_line("37--Soccer/37_Soccer_soccer_ball_37_45.jpg", box=False)
    return saved_text(folder / "list_98pt_test_blur.txt", line)


def aflw2000(folder: Path) -> Path:
    np.save(folder / "AFLW2000-3D.pts68.npy", numbers(2, 3, 68).astype(np.float32))
    return folder / "AFLW2000-3D.pts68.npy"


def aflw2000_again(folder: Path) -> Path:
    np.save(folder / "AFLW2000-3D-Reannotated.pts68.npy", numbers(2, 2, 68).astype(np.float32))
    return folder / "AFLW2000-3D-Reannotated.pts68.npy"


def lfpw_npz(folder: Path) -> Path:
    return saved_npz(
        folder / "trainset.npz",
        name=np.array(["image_0001", "image_0002"]),
        landmarks_original0=numbers(2, 68, 2).astype(np.float32),
        landmarks_crop192=numbers(2, 68, 2).astype(np.float32) / 2,
        image_wh=np.array([[412, 600], [300, 200]]),
    )


def youtube_npz(folder: Path) -> Path:
    return saved_npz(
        folder / "training.npz",
        name=np.array(["Ann_Lee_21.jpg", "Bo_02.jpg"]),
        landmarks_original=numbers(2, 68, 2).astype(np.float32),
        landmarks_crop128=numbers(2, 68, 2).astype(np.float32) / 2,
    )


SAMPLES: dict[str, tuple[Callable[[Path], Path], ...]] = {
    "bvh": (bvh,),
    "coco": (coco, official_coco),
    "coco-npz": (coco_npz,),
    "face-arrays": (aflw2000, aflw2000_again, lfpw_npz, youtube_npz),
    "hand3d": (hand3d_file, hand3d_folder),
    "h36m": (h36m_2d, h36m_3d, h36m_mmpose, h36m_coco, h36m_fetch, h36m_world),
    "jhmdb": (jhmdb_npz, jhmdb_folder),
    "lsp": (lsp, lspet),
    "mocap": (mocap,),
    "mpi3dhp": (mpi3dhp_train, mpi3dhp_test, mpi3dhp_npz, mpi3dhp_test_73),
    "mpii": (mpii_csv, mpii_json, mpii_mat),
    "npz": (own_npz,),
    "penn": (penn_mat, penn_folder, penn_npz),
    "pts": (pts_file, pts_clips),
    "rhd": (rhd_file, rhd_folder),
    "simple-h36m": (simple_h36m,),
    "surreal": (surreal_clip, surreal_folder, uncompressed_mat),
    "wflw": (wflw, wflw_subset),
    "zarr": (zarr,),
}
"""Format -> what writes one small true file or folder of each of its forms into a folder."""


@pytest.fixture(scope="session")
def samples() -> dict[str, tuple[Callable[[Path], Path], ...]]:
    return SAMPLES
