"""HTML for people: folders, a file's mirrors, a decision explained, errors.

Every page is a pure function of what it shows, to one complete document: no scripts, nothing
fetched from elsewhere, everything escaped, for names are strangers' bytes.
"""

from __future__ import annotations

from heliostat.edge.pages.explain import explain_page
from heliostat.edge.pages.gone import error_page
from heliostat.edge.pages.listing import listing_page
from heliostat.edge.pages.mirrors import mirrors_page

__all__ = ["error_page", "explain_page", "listing_page", "mirrors_page"]
