"""Pictures and pages of results. Needs the extra ``report``: matplotlib and jinja2."""
