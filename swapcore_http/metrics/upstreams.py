"""What do the models' own servers say of themselves, each under its model's name?"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import aiohttp
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from swapcore_http.trust import trust_for

__all__ = ["ask_all", "merged"]

logger = logging.getLogger(__name__)

TIMEOUT = 2.0
"""Seconds that an upstream has to answer: nobody else's numbers wait for it any longer."""

MOST = 4 * 1024 * 1024
"""Bytes that it may answer with."""

OURS = ("swapcore_", "llamaswap_")
"""What the names of this server's own metrics begin with; upstreams of the same kind have the same ones."""

LABEL = "model"


async def ask_all(urls: Mapping[str, str]) -> dict[str, str]:
    """Ask upstreams for their metrics, all at once.

    Args:
        urls: The base URL of each model's run.

    Returns:
        What they answered. Those who have no metrics, or do not answer in time, are missing.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        texts = await asyncio.gather(*(_ask(session, url) for url in urls.values()))
    return {model: text for model, text in zip(urls, texts, strict=True) if text}


async def _ask(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(f"{url}/metrics", allow_redirects=False, ssl=trust_for(url)) as response:
            if response.status != 200:  # noqa: PLR2004
                return ""
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > MOST:
                    return ""
            return body.decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        logger.debug("%s/metrics cannot be had: %s", url, error)
        return ""


def merged(texts: Mapping[str, str]) -> Iterator[Metric]:
    """Merge what upstreams said; each sample gets a `model` label, one of its own becomes `exported_model`.

    What cannot be read is left out, an upstream at a time.
    """
    families: dict[str, Metric] = {}
    for model, text in texts.items():
        try:
            found = list(text_string_to_metric_families(text))
        except (ValueError, KeyError, IndexError) as error:
            logger.debug("the metrics of %s cannot be read: %s", model, error)
            continue
        for family in found:
            if family.name.startswith(OURS):
                continue
            whole = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            whole.samples.extend(_labelled(family.samples, model))
    return chain(families.values())


def _labelled(samples: Iterable[Sample], model: str) -> Iterator[Sample]:
    for sample in samples:
        labels = dict(sample.labels)
        if LABEL in labels:
            labels[f"exported_{LABEL}"] = labels.pop(LABEL)
        yield sample._replace(labels={**labels, LABEL: model}, timestamp=None, exemplar=None)
