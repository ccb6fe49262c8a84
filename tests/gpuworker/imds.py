"""An instance metadata service on 127.0.0.1, for tests."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from gpuworker.entries.metadata import Metadata


class Service:
    """Speaks IMDSv2 on 127.0.0.1: a token by PUT, values with it, 401 without."""

    def __init__(self) -> None:
        self.values = {"instance-id": "i-0abc"}
        self.token = "first"
        self.tokens_given = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                service.tokens_given += 1
                known = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") == "21600"
                self.answer(200 if known and self.path.endswith("/latest/api/token") else 400, service.token)

            def do_GET(self) -> None:
                value = service.values.get(self.path.partition("/latest/meta-data/")[2])
                if self.headers.get("X-aws-ec2-metadata-token") != service.token:
                    self.answer(401, "")
                else:
                    self.answer(404 if value is None else 200, value or "")

            def answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.metadata = Metadata(endpoint=f"http://127.0.0.1:{self.server.server_port}/i-0abc")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
