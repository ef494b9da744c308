"""What the proxy tells Prometheus.

    counters (plain integers) -> snapshots -> families (one declaration per metric) -> scrape (sliced text)

The hot path only adds to integers; everything else happens when somebody scrapes. prometheus-client formats
the text, but its metric objects are not used: they cost 0.5-6 us per use. Metrics read snapshots, never live
objects.
"""

from poolproxy.metrics.families import Family, families
from poolproxy.metrics.scrape import Source, render

__all__ = ["Family", "Source", "families", "render"]
