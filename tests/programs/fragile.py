"""A server whose health is decided by files in its working directory.

GET /crash   writes a file `inside-...`, and ends the process once `crash` is there, without an
             answer
GET /wait    200 once `go` is there, and not before
GET /ready   200 once `ready` is there, 503 before
GET /alive   500 once `sick` is there, 200 before
GET /        which process this is
"""

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def until(name):
    while not os.path.exists(name):
        time.sleep(0.01)


class Server(ThreadingHTTPServer):
    request_queue_size = 100


class Fragile(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/crash":
            open(f"inside-{threading.get_ident()}", "w").close()
            until("crash")
            os.remove("crash")
            os._exit(1)
        elif self.path == "/wait":
            until("go")
            self.answer(200, "gone\n")
        elif self.path == "/ready":
            self.answer(200 if os.path.exists("ready") else 503, "")
        elif self.path == "/alive":
            self.answer(500 if os.path.exists("sick") else 200, "")
        else:
            self.answer(200, f"process {os.getpid()}\n")

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


if os.path.exists("sick"):
    os.remove("sick")
print("serving", flush=True)
Server(("127.0.0.1", int(os.environ["PORT"])), Fragile).serve_forever()
