"""Self-contained pages from this package's templates: one style sheet, no scripts, nothing loaded from elsewhere."""

from importlib.resources import files
from typing import Any

import jinja2


def render_page(template: str, **values: Any) -> str:
    """Fill a template of this package; text is escaped, and a name that is not given is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(css=_resource("report.css"), **values)


def _resource(name: str) -> str:
    return (files("kdspark.report") / name).read_text(encoding="utf-8")
