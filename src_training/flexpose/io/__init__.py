"""Pose files in and out.

``read_poses(path)`` recognises the format of a file or folder and returns a ``PoseSet``;
``write_poses(poses, path)`` writes COCO keypoints (``.json``), the lossless ``.npz`` or a ``.zarr``
store. ``read_coco`` and ``write_coco`` keep all that a COCO file holds beside the poses. What a
dataset offers beyond that (cameras, splits) stands in its own module: ``bvh``, ``coco_npz``,
``face_arrays``, ``h36m``, ``hand3d``, ``jhmdb``, ``lsp``, ``mocap``, ``mpi3dhp``, ``mpii``,
``penn``, ``pts``, ``rhd``, ``simple_h36m``, ``surreal``, ``wflw``; large generated sets in
``coco_stream`` and ``zarr_store``.
``matfile`` and ``pickled`` read MATLAB's and numpy's files without trusting them, ``hdf5`` reads
HDF5 through h5py.
``coco_check`` and ``coco_clients`` judge a COCO file before it leaves. A new format is one file:
see ``base``. No module here imports torch.
"""

from flexpose.io.base import Format, formats, read_poses, write_poses
from flexpose.io.coco import CocoAnnotation, CocoDataset, CocoImage, write_coco
from flexpose.io.coco_read import read_coco

__all__ = [
    "CocoAnnotation",
    "CocoDataset",
    "CocoImage",
    "Format",
    "formats",
    "read_coco",
    "read_poses",
    "write_coco",
    "write_poses",
]
