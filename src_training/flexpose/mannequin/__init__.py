"""The sample data: an articulated mannequin in a room, with exact keypoints, made from a seed.

``mannequin_frames()`` gives the sample. ``motion`` holds the actions, ``body`` turns their angles
into joints and solids, ``render`` is the camera and the ray caster, ``room`` the background.
``studio`` makes many more frames from motion capture: ``takes`` says which, ``capture`` puts them
on the mannequin.

World space: metres, x to the camera's right, y away from the camera, z up, the floor at z = 0.
A person of heading 0 faces the camera (-y), the left side towards +x.
"""

from flexpose.mannequin.sample import MannequinSample, mannequin_frames

__all__ = ["MannequinSample", "mannequin_frames"]
