"""Models and solvers of other packages, which the core never imports: `pip install 'pdejax[interop]'`.

Each module is imported by its own name, so that one of the packages is enough: `pdejax.interop.linen`,
`pdejax.interop.nnx`, `pdejax.interop.with_jaxopt`; `pdejax.interop.neuraloperator` needs none.
"""
