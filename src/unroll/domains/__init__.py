"""One folder for each kind of data. A new one needs its folder and a line in `DOMAINS`, the only list of them."""

from unroll.domains import articles, digits, pairs, prices, recordings, series, strips, tagged, texts, tunes
from unroll.domains.domain import Domain

DOMAINS: tuple[Domain, ...] = (
    digits.DOMAIN,
    strips.DOMAIN,
    prices.DOMAIN,
    series.DOMAIN,
    texts.DOMAIN,
    pairs.DOMAIN,
    articles.DOMAIN,
    tagged.DOMAIN,
    recordings.DOMAIN,
    tunes.DOMAIN,
)


def domain_of(name: str) -> Domain:
    """Return the domain of this name.

    Raises:
        KeyError: There is no such domain.
    """
    for domain in DOMAINS:
        if domain.name == name:
            return domain
    raise KeyError(name)
