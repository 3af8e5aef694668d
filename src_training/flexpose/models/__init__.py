"""Networks: generators, discriminators, regressor, feature extractors."""
