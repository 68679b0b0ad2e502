"""Terms: what turns a configured loss, and a step's context, into a number of the sum that is minimised."""

from kdspark.distill.terms.build import build_terms
from kdspark.distill.terms.term import Setting, Term

__all__ = ["Setting", "Term", "build_terms"]
