"""The four cameras of Human3.6M, as its metadata give them.

Lenses and places of cameras are those of facebookresearch/VideoPose3D@11e90ad9
(common/h36m_dataset.py), which agree with the parameters that open-mmlab/mmpose makes from the
dataset's ``metadata.xml`` to 1e-6 metres. World coordinates are metres, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexpose.io.mocap import NEAR

CAMERA_IDS = ("54138969", "55011271", "58860488", "60457274")
"""Names of the cameras in files, in the order in which lists hold them."""


@dataclass(frozen=True, kw_only=True)
class LensCamera:
    """Pinhole camera with radial and tangential distortion.

    Attributes
    ----------
    rotation : unit quaternion w, x, y, z that turns camera axes (right, down, forward) into the
        world's
    eye : position in world metres
    focal, principal : x and y in pixels
    radial : factors of the 2nd, 4th and 6th power of the distance from the optical axis
    tangential : x and y
    image_size : width and height in pixels
    """

    rotation: tuple[float, float, float, float]
    eye: tuple[float, float, float]
    focal: tuple[float, float]
    principal: tuple[float, float]
    radial: tuple[float, float, float]
    tangential: tuple[float, float]
    image_size: tuple[int, int]

    def world_to_image(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Project float (..., 3) world metres to float32 (..., 2) image pixels.

        NaN where a point is behind the camera or nearer than ``flexpose.io.mocap.NEAR``.
        """
        w, *axis = self.rotation
        moved = np.asarray(points, dtype=float) - self.eye
        twice = 2 * np.cross(moved, axis)  # turned the other way: from the world to the camera
        seen = moved + w * twice + np.cross(twice, axis)
        flat = seen[..., :2] / np.where(seen[..., 2:] >= NEAR, seen[..., 2:], np.nan)
        square = (flat**2).sum(axis=-1, keepdims=True)
        bent = 1 + (square ** np.array([1, 2, 3]) * self.radial).sum(axis=-1, keepdims=True)
        bent = bent + (flat * self.tangential).sum(axis=-1, keepdims=True)
        distorted = flat * bent + square * np.array(self.tangential)
        return (distorted * self.focal + self.principal).astype(np.float32)


def h36m_cameras(subject: str) -> tuple[LensCamera, ...]:
    """The four cameras as they stood for a subject ("S1"), in the order of ``CAMERA_IDS``.

    Raises
    ------
    KeyError : the dataset has no public cameras of that subject.
    """
    return tuple(
        LensCamera(
            rotation=rotation,
            eye=eye,
            focal=focal,
            principal=principal,
            radial=radial,
            tangential=tangential,
            image_size=IMAGE_SIZES[name],
        )
        for name, (rotation, eye), (focal, principal, radial, tangential) in zip(
            CAMERA_IDS, _PLACES[subject], _LENSES, strict=True
        )
    )


IMAGE_SIZES = {
    "54138969": (1000, 1002),
    "55011271": (1000, 1000),
    "58860488": (1000, 1000),
    "60457274": (1000, 1002),
}

_LENSES = (  # focal, principal, radial, tangential
    (
        (1145.049405, 1143.781096),
        (512.541505, 515.451487),
        (-0.2070989109, 0.2477751831, -0.0030751504),
        (-0.00097569886, -0.00142447157),
    ),
    (
        (1149.675700, 1147.591617),
        (508.848622, 508.064917),
        (-0.1942136296, 0.2404085391, 0.0068199756),
        (-0.00161902661, -0.00274089440),
    ),
    (
        (1149.140717, 1148.798969),
        (519.815837, 501.402659),
        (-0.2083381883, 0.2554880075, -0.0024604975),
        (0.00148438699, -0.00075999932),
    ),
    (
        (1145.511338, 1144.773928),
        (514.968197, 501.882019),
        (-0.1983840938, 0.2183236763, -0.0089478070),
        (-0.00058720558, -0.00181336200),
    ),
)

_Place = tuple[tuple[float, float, float, float], tuple[float, float, float]]
_PLACES: dict[str, tuple[_Place, _Place, _Place, _Place]] = {  # rotation, eye
    "S1": (
        ((0.14070564, -0.15007017, -0.75524083, 0.62232802), (1.841107, 4.955285, 1.563445)),
        ((0.61571878, -0.76483629, -0.14833826, 0.11794741), (1.761279, -5.078007, 1.606265)),
        ((0.14651473, -0.14647853, 0.76530235, -0.60941759), (-1.846778, 5.215047, 1.491972)),
        ((0.58340087, -0.78531621, 0.14548823, -0.14749595), (-1.794790, -3.722699, 1.574893)),
    ),
    "S5": (
        ((0.14673773, -0.16237096, -0.75518929, 0.61789388), (2.097392, 4.880945, 1.605732)),
        ((0.61597583, -0.76267921, -0.15728192, 0.11898150), (2.031701, -5.167933, 1.612923)),
        ((0.14291372, -0.12907842, 0.76783849, -0.61101430), (-1.620595, 5.171659, 1.496437)),
        ((0.59204797, -0.78142176, 0.12747486, -0.15036418), (-1.637174, -3.867317, 1.547033)),
    ),
    "S6": (
        ((0.13378977, -0.15692396, -0.75710904, 0.61988795), (1.935452, 4.950246, 1.618084)),
        ((0.61471977, -0.76288128, -0.16174767, 0.11819245), (1.969804, -5.128739, 1.632779)),
        ((0.15299482, -0.13529130, 0.76460966, -0.61127810), (-1.769596, 5.185361, 1.476993)),
        ((0.59161013, -0.78047740, 0.12832271, -0.15615939), (-1.721669, -3.884131, 1.540488)),
    ),
    "S7": (
        ((0.14352418, -0.16313368, -0.75483287, 0.61888249), (1.974513, 4.926354, 1.597833)),
        ((0.61416729, -0.76382628, -0.15966456, 0.11779299), (1.937058, -5.119790, 1.631566)),
        ((0.14550059, -0.12874817, 0.76605165, -0.61271393), (-1.741811, 5.208249, 1.464825)),
        ((0.59128481, -0.78217643, 0.12445473, -0.15196487), (-1.734711, -3.832421, 1.548583)),
    ),
    "S8": (
        ((0.14110588, -0.15589868, -0.75619175, 0.61964407), (2.150652, 4.896161, 1.611905)),
        ((0.61696015, -0.76476684, -0.14846350, 0.11158158), (2.219966, -5.148453, 1.613044)),
        ((0.14714441, -0.13377120, 0.76701281, -0.61003699), (-1.571221, 5.137019, 1.498176)),
        ((0.59278241, -0.78258708, 0.12147816, -0.14631996), (-1.476913, -3.896741, 1.547972)),
    ),
    "S9": (
        ((0.15540588, -0.15548217, -0.75320952, 0.61995946), (2.044459, 4.935117, 1.481228)),
        ((0.61878449, -0.76347350, -0.14132238, 0.11933969), (1.990960, -5.123811, 1.568805)),
        ((0.13357827, -0.13671004, 0.76894544, -0.61007386), (-1.670992, 5.211986, 1.528388)),
        ((0.58793991, -0.78234073, 0.14276144, -0.14794870), (-1.696043, -3.827100, 1.591413)),
    ),
    "S11": (
        ((0.15232472, -0.15442321, -0.75475634, 0.61910703), (2.098440, 4.926555, 1.500279)),
        ((0.61894496, -0.76009175, -0.15300634, 0.12552583), (2.083182, -4.912173, 1.561079)),
        ((0.14943229, -0.15650227, 0.76812341, -0.60263045), (-1.609815, 5.177336, 1.537897)),
        ((0.58942515, -0.78188772, 0.13991212, -0.14715361), (-1.590738, -3.854169, 1.578018)),
    ),
}
H36M_SUBJECTS = tuple(_PLACES)
"""Subjects whose cameras are public; S9 and S11 are for testing."""
