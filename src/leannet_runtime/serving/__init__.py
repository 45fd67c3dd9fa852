"""An exported network behind HTTP: `serve` runs it, `make_app` is the ASGI application alone.

FastAPI and uvicorn were chosen over LitServe (0.2.19). LitServe's batching is as small as the one here, but it takes
images through queues without a bound, in a process of their own beside the workers', so that under overload memory
grows instead of requests being refused; at SIGTERM it ends its workers with what they have taken; and it needs pyzmq,
uvloop, httptools, websockets and watchfiles on top of FastAPI and uvicorn, which it builds on itself. onnxruntime lets
go of Python's lock while it computes, so one thread behind an asyncio queue (`batcher`) does the same in one process.
"""

from leannet_runtime.serving.app import make_app
from leannet_runtime.serving.limits import Limits
from leannet_runtime.serving.server import serve

__all__ = ["Limits", "make_app", "serve"]
