"""What each operator ties together, by family; `RULES` holds all of them by domain and operator."""

from deploycompress.pruning.rules import attention, elementwise, norms, picking, products, reducing, views

RULES = {
    **elementwise.RULES,
    **views.RULES,
    **picking.RULES,
    **products.RULES,
    **norms.RULES,
    **reducing.RULES,
    **attention.RULES,
}

__all__ = ["RULES"]
