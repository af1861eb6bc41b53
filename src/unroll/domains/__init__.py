"""One folder for each kind of data. `DOMAINS` is the only list of them: a new one is a folder and a line here."""

from unroll.domains import articles, digits, pairs, prices, recordings, strips, tagged, texts, tunes
from unroll.domains.domain import Domain

DOMAINS: tuple[Domain, ...] = (
    digits.DOMAIN,
    strips.DOMAIN,
    prices.DOMAIN,
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
