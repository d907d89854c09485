"""The same server on real Tornado: the program of the article, with counters.

Run by `reproduce --tornado PYTHON`; arguments: start, handler, milliseconds. Tornado 6.1 on Python
3.11 or older shows the spin. Standard input is the page of counters of counters.rs.

Wake-ups are counted by a selector that is asyncio's own but for the counting: a return of select()
that had waited. It was without progress if it brought no event of a descriptor that this process
knows and no timeout was over: CPython's selector drops an unknown descriptor without a word. (A
number that both workers know counts as progress, though its owner is the other.)
"""

import asyncio
import ctypes
import mmap
import os
import selectors
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import tornado.httpserver
import tornado.ioloop
import tornado.log
import tornado.netutil
import tornado.process
import tornado.web
from tornado import gen

START, HANDLER, HOLD = sys.argv[1], sys.argv[2], int(sys.argv[3]) / 1000
PAGE = memoryview(mmap.mmap(0, 4096)).cast("Q")
PORT, FIRST, STRIDE = 0, 8, 8
PID, WAKEUPS, IDLE_WAKEUPS, BEGUN, RETURNED = range(5)
PR_SET_PDEATHSIG = 1


def count(word):
    PAGE[FIRST + STRIDE * (tornado.process.task_id() or 0) + word] += 1


class CountingSelector(selectors.DefaultSelector):
    def select(self, timeout=None):
        began = time.monotonic()
        events = super().select(timeout)
        waits = timeout is None or timeout > 0
        if waits or events:
            count(WAKEUPS)
            if not events and (timeout is None or time.monotonic() - began < timeout):
                count(IDLE_WAKEUPS)
        return events


class CountingPolicy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        return asyncio.SelectorEventLoop(CountingSelector())


class Quick(tornado.web.RequestHandler):
    def get(self):
        self.write("quick\n")


class Slow(tornado.web.RequestHandler):
    executor = None

    async def get(self):
        count(BEGUN)
        try:
            if HANDLER == "blocks":
                time.sleep(HOLD)
            elif HANDLER == "awaits":
                await gen.sleep(HOLD)
            else:
                if Slow.executor is None:  # after the fork: threads are not inherited
                    Slow.executor = ThreadPoolExecutor(64)
                loop = tornado.ioloop.IOLoop.current()
                await loop.run_in_executor(Slow.executor, time.sleep, HOLD)
        finally:
            count(RETURNED)
        self.write("slow\n")


def serve():
    asyncio.set_event_loop_policy(CountingPolicy())
    app = tornado.web.Application([("/quick", Quick), ("/slow", Slow)], log_function=lambda _: None)
    server = tornado.httpserver.HTTPServer(app, xheaders=True)
    parent = os.getpid()
    if START == "listen-then-fork":
        server.listen(0, "127.0.0.1")  # makes the loop, and with it the epoll instance
        [listener] = server._sockets.values()
        PAGE[PORT] = listener.getsockname()[1]
        server.start(2)  # forks
    else:
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        PAGE[PORT] = sockets[0].getsockname()[1]
        if START == "fork-then-add":
            tornado.process.fork_processes(2)
        server.add_sockets(sockets)
    if os.getpid() != parent:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent is gone")
    worker = tornado.process.task_id() or 0
    loop = tornado.ioloop.IOLoop.current()
    loop.add_callback(lambda: PAGE.__setitem__(FIRST + STRIDE * worker + PID, os.getpid()))
    loop.start()


serve()
