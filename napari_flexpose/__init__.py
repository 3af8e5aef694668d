"""napari plugin of FlexPose."""
