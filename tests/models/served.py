"""A local server that plays vLLM or SGLang: it runs a small model in this process, so that tokens
and log-probabilities are real, and it fails where a test wants it to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from luce.models.engine import SamplingSettings, generate
from luce.models.policy import load_policy


class Served:
    """A server on a port of this host.

    Attributes:
        kind: "vllm" or "sglang".
        model: the folder whose weights it has.
        name: what it calls the model.
        adapters: name → folder of those that were loaded.
        faults: taken one by one, each in place of an answer to a request for samples: a status,
            "html", "cut" (the connection), "abort", or "die" (and every later connection fails).
        asked: (path, payload) of all requests that were answered.
    """

    def __init__(self, kind, model, *, name=None, key=None, port=0):
        self.kind, self.model, self.key = kind, str(model), key
        self.name = str(model) if name is None else name
        self.weight_version = "default"
        self.adapters, self.faults, self.asked, self.seen = {}, [], [], 0
        self.loaded, self.lock = {}, threading.Lock()
        self.closed = threading.Event()  # its port is free again
        served = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                served.handle(self, None)

            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                served.handle(self, json.loads(self.rfile.read(length)))

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request, client_address):
                pass  # a client that went away

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        self.closed.set()

    def policy(self, path):
        if path not in self.loaded:
            self.loaded[path] = load_policy(path)
            self.loaded[path].module.requires_grad_(False)
        return self.loaded[path]

    def handle(self, request, payload):
        path = request.path
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return answer(request, 401, {"error": f"not {request.headers.get('Authorization')}"})
        if path in ("/v1/completions", "/generate"):
            with self.lock:
                self.seen += 1
                fault = self.faults.pop(0) if self.faults else None
            if fault == "die":
                threading.Thread(target=self.close, daemon=True).start()
                fault = "cut"
            if fault == "cut":
                return request.connection.close()
            if fault == "html":
                return answer(request, 200, "<html>busy</html>")
            if isinstance(fault, int):
                return answer(request, fault, {"error": "not now"})
            with self.lock:
                status, body = getattr(self, f"{self.kind}_samples")(payload, fault == "abort")
        else:
            with self.lock:  # weights are exchanged between two requests, never within one
                status, body = getattr(self, self.kind)(path, payload)
        if status == 200:
            self.asked.append((path, payload))
        return answer(request, status, body)

    def draw(self, path, prompt, seed, settings, stop_ids):
        return generate(self.policy(path), [prompt], 1, settings, seed=seed, stop_ids=stop_ids)[0][
            0
        ]

    def vllm(self, path, payload):
        if path == "/v1/models":
            cards = [{"id": self.name, "root": self.model, "parent": None}]
            cards += [{"id": n, "root": p, "parent": self.name} for n, p in self.adapters.items()]
            return 200, {"object": "list", "data": cards}
        if path == "/v1/load_lora_adapter":
            if payload["lora_name"] in self.adapters:
                return 400, {"error": f"{payload['lora_name']} has already been loaded"}
            if not (Path(payload["lora_path"]) / "adapter_config.json").exists():
                return 400, {"error": "no adapter there"}
            self.adapters[payload["lora_name"]] = payload["lora_path"]
            return 200, "Success: LoRA adapter added."
        return 404, {"detail": "Not Found"}

    def vllm_samples(self, payload, abort):
        models = {self.name: self.model} | self.adapters
        if payload["model"] not in models:
            return 404, {"error": {"message": f"The model `{payload['model']}` does not exist."}}
        settings = SamplingSettings(payload["temperature"], payload["top_p"], payload["max_tokens"])
        assert payload["top_k"] == 0 and payload["repetition_penalty"] == 1.0
        assert payload["ignore_eos"] and payload["logprobs"] is not None
        choices = []
        for j in range(payload["n"]):
            found = self.draw(
                models[payload["model"]], payload["prompt"], payload["seed"] + j, settings,
                payload["stop_token_ids"],
            )  # fmt: skip
            choice = {
                "index": j,
                "text": "",
                "finish_reason": "abort" if abort else "stop" if found.ended else "length",
                "logprobs": {"token_logprobs": list(found.log_probs)},
            }
            if payload.get("return_token_ids"):
                choice["token_ids"] = list(found.ids)
            choices.append(choice)
        # what comes back in another order is put right by its index
        return 200, {
            "object": "text_completion",
            "model": payload["model"],
            "choices": choices[::-1],
        }

    def sglang(self, path, payload):
        if path == "/get_model_info":
            return 200, {"model_path": self.model, "weight_version": self.weight_version}
        if path == "/update_weights_from_disk":
            if not (Path(payload["model_path"]) / "config.json").exists():
                return 400, {"success": False, "message": "no weights there"}
            self.model, self.weight_version = payload["model_path"], payload["weight_version"]
            return 200, {"success": True, "message": "Succeeded.", "num_paused_requests": 0}
        if path == "/load_lora_adapter":
            if payload["lora_name"] in self.adapters:
                return 400, {"success": False, "error_message": "LoRA adapter already loaded"}
            self.adapters[payload["lora_name"]] = payload["lora_path"]
            return 200, {"success": True}
        return 404, {"detail": "Not Found"}

    def sglang_samples(self, payload, abort):
        found = []
        names = payload.get("lora_path") or [None] * len(payload["input_ids"])
        for prompt, given, name in zip(
            payload["input_ids"], payload["sampling_params"], names, strict=True
        ):
            if name is not None and name not in self.adapters:
                return 400, {"error": {"message": f"LoRA adapter {name} is not loaded"}}
            assert given["top_k"] == -1 and payload["return_logprob"]
            settings = SamplingSettings(
                given["temperature"], given["top_p"], given["max_new_tokens"]
            )
            path = self.model if name is None else self.adapters[name]
            one = self.draw(path, prompt, given["sampling_seed"], settings, given["stop_token_ids"])
            scored = [
                [value, token, None] for token, value in zip(one.ids, one.log_probs, strict=True)
            ]
            reason = {"type": "abort" if abort else "stop" if one.ended else "length"}
            meta = {"output_token_logprobs": scored, "finish_reason": reason}
            meta["weight_version"] = self.weight_version
            found.append({"text": "", "output_ids": list(one.ids), "meta_info": meta})
        return 200, found


def answer(request, status, body):
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    request.send_response(status)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)
