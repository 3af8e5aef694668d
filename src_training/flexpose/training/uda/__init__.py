"""Job ``train-uda``: the domain adaptation that this project is compared with, and its bounds."""
