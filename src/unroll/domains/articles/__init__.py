"""Domain `articles`: running text."""

from unroll.domains.articles.config import ArticleDataset, LanguageTask
from unroll.domains.domain import Domain

DOMAIN = Domain("articles", dataset=ArticleDataset, tasks=(LanguageTask,))
