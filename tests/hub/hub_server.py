"""A server with the parts of the Hugging Face Hub's interface that loading and publishing use."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c" * 40


class Hub:
    """Repositories by name, each a dict of files; `requests` lists what was asked for."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self, body: bytes | Any, status: int = 200, **headers: str) -> None:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def refuse(self, code: str = "RepoNotFound") -> None:
                self.answer({"error": code}, 404, X_Error_Code=code)

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                hub.requests.append(f"{self.command} {path}")
                words = path.strip("/").split("/")
                repo = "/".join(words[2:4] if words[0] == "api" else words[:2])
                files = hub.repos.get(repo)
                if files is None:
                    self.refuse()
                elif words[0] == "api" and "tree" in words:
                    kinds = {"type": "file", "oid": "0" * 40}
                    self.answer([kinds | {"path": name, "size": len(data)} for name, data in files.items()])
                elif words[0] == "api":
                    siblings = [{"rfilename": name} for name in files]
                    self.answer({"id": repo, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
                elif (name := "/".join(words[4:])) in files:
                    tag = hashlib.sha256(files[name]).hexdigest()
                    self.answer(files[name], ETag=f'"{tag}"', X_Repo_Commit=COMMIT, Accept_Ranges="bytes")
                else:
                    self.refuse("EntryNotFound")

            do_HEAD = do_GET

            def do_POST(self) -> None:
                path = self.path.partition("?")[0]
                hub.requests.append(f"POST {path}")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                words = path.strip("/").split("/")
                if path == "/api/repos/create":
                    asked = json.loads(body)
                    repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
                    hub.repos.setdefault(repo, {})
                    self.answer({"url": f"{hub.address}/{repo}", "name": repo})
                elif words[4:5] == ["preupload"]:
                    files = json.loads(body)["files"]
                    kinds = {"uploadMode": "regular", "shouldIgnore": False}
                    self.answer({"files": [kinds | {"path": file["path"]} for file in files]})
                elif words[4:5] == ["commit"]:
                    for line in map(json.loads, body.splitlines()):
                        if line["key"] == "file":
                            value = line["value"]
                            hub.repos["/".join(words[2:4])][value["path"]] = base64.b64decode(value["content"])
                    self.answer(
                        {
                            "commitUrl": f"{hub.address}/{words[2]}/{words[3]}/commit/{COMMIT}",
                            "commitOid": COMMIT,
                            "success": True,
                        }
                    )
                else:
                    self.answer({"errors": [], "warnings": []})  # of a card's head

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
