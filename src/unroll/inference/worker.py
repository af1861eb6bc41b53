"""The process that scores files for `FileScorer`: `python -m unroll.inference.worker`.

It reads requests from stdin and writes replies to stdout, a line of JSON each: first the settings, then a file to
divide, or one to score, or a chunk of one. It ends when stdin is closed, that is, also when its parent dies; when it
needs more memory than its limit; and, by SIGALRM, when a request takes more than its time.
"""

import json
import os
import queue
import re
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unroll.errors import UnrollError
from unroll.inference.file_scorer import OUT_OF_MEMORY

if TYPE_CHECKING:
    from unroll.inference.scorer import Scorer

_LACKS_MEMORY = re.compile(r"bad_alloc|alloc of size|Allocation error|[Ff]ailed to allocate|allocate memory|new thread")


def main() -> None:
    """Serve requests until stdin is closed."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What a library prints does not belong among the replies.

    def reply(action: Callable[[], Any]) -> None:
        print(json.dumps(_outcome(action)), file=replies, flush=True)

    requests = _requests()
    settings = next(requests)
    scorers: list[Scorer] = []
    reply(lambda: scorers.append(_load(settings)))
    for request in requests:
        reply(partial(_answer, scorers[0], settings["threads"], request))


def _load(settings: dict[str, Any]) -> "Scorer":
    # RLIMIT_DATA counts the memory that the process may write, unlike RLIMIT_AS, which also counts libraries' code and
    # reserved addresses. Arrow's own allocator would use up 1 GiB of it at once.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = settings["memory_mb"] << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    from unroll.config.decoding import DecodingConfig
    from unroll.inference.bundle import load_bundle
    from unroll.inference.scorer import Scorer

    decoding = DecodingConfig(**settings["decoding"])
    bundle = load_bundle(Path(settings["bundle"]))
    bundle = replace(bundle, card=bundle.card.with_settings(settings["file_settings"]))
    return Scorer(bundle, settings["batch_rows"], decoding)


def _answer(scorer: "Scorer", threads: int, request: dict[str, Any]) -> dict[str, Any]:
    from unroll.inference.stream import divide, score_stream
    from unroll.sources.parquet import Chunk

    source = Path(request["source"])
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])  # SIGALRM ends the process, whatever it is at.
    try:
        if "chunk_rows" in request:
            return {"chunks": [asdict(one) for one in divide(source, scorer.bundle, request["chunk_rows"])]}
        output, quarantine = Path(request["output"]), Path(request["quarantine"])
        chunk = Chunk(**request["chunk"]) if request["chunk"] else None
        metadata = request["metadata"]
        return score_stream(scorer, threads, source, output, quarantine=quarantine, metadata=metadata, chunk=chunk)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _requests() -> Iterator[dict[str, Any]]:
    """Yield the requests. Stdin is read in a thread, so that the end of stdin is noticed while a file is scored."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(lines.get())


def _outcome(action: Callable[[], Any]) -> dict[str, Any]:
    try:
        return action() or {}
    except BaseException as error:
        if _lacks_memory(error):
            os._exit(OUT_OF_MEMORY)
        if isinstance(error, UnrollError):
            return {"error": type(error).__name__, "message": str(error)}
        if isinstance(error, OSError):
            return {"error": "OSError", "message": error.strerror or str(error)}
        return {"error": "", "message": "".join(traceback.format_exception(error))}


def _lacks_memory(error: BaseException | None) -> bool:
    """Return whether a lack of memory caused an error: Arrow, zstd and onnxruntime each raise their own."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if not isinstance(error, UnrollError) and _LACKS_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    main()
