"""Other ways to bend a prior towards a few shots, for comparison with tau.

To add one: a config class in ``flexpose.configs.baselines`` whose ``kind`` is its name, added to
the union ``AdapterConfig`` there; and in a module of this package an `Adapter` for it, in the
module's ``ADAPTERS``. ``adapt-baseline --adapter.kind <name>`` and the contract tests find it.
"""
