"""A server on this machine that speaks the gRPC protocol of Modal's client.

It has the RPCs that one function call needs. Any other RPC returns new ids, or nothing.
"""

import asyncio
import inspect
import itertools
import signal
import socket
import threading
from functools import partial
from pathlib import Path

from aiohttp import web
from grpclib import GRPCError, Status
from grpclib.server import Server
from modal._serialization import deserialize, deserialize_data_format, pickle_exception, serialize
from modal_proto import api_pb2 as pb
from modal_proto.api_grpc import ModalClientBase

RUNS = "axolotl-grpo-runs"
EVERY_RPC = type("EveryRPC", (ModalClientBase,), dict.fromkeys(ModalClientBase.__abstractmethods__))
RESULT = pb.GenericResult
LINE = partial(pb.TaskLogs, file_descriptor=pb.FILE_DESCRIPTOR_STDOUT)


class ModalService:
    """Serve at self.url inside a `with` block.

    calls: each request, (name of the RPC, message). function: the definition in FunctionCreate.
    jobs: of each call. stored: Modal's Secrets, {name: {ENV: value}}. refusals: {RPC, or "*": (status, text)}.
    transient: RPCs that are refused once. interrupts: {RPC: signal that the client gets meanwhile}.
    failed_build: (log, reason) of each layer. answer: stands for the function, in a thread; it gets
    the job. If it returns a RESULT, Modal reports this of the container.
    """

    def __init__(self):
        self.calls, self.jobs, self.function, self.stored = [], [], None, {}
        self.answer = lambda job: 0
        self.refusals, self.transient, self.interrupts, self.failed_build = {}, set(), {}, None
        self._log, self._app_done, self._numbers = [], False, itertools.count(1)
        self._objects, self._files, self._volumes, self._running, self._dicts = {}, {}, {}, {}, {}
        self._connections, self._away, self._cut = set(), 0, threading.Event()
        self._sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self._address, files = (listening.getsockname() for listening in self._sockets)
        self.url, self._files_url = (f"http://127.0.0.1:{at[1]}" for at in (self._address, files))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def log(self, text):
        """Add a line to the function's log."""
        self._log.append(LINE(data=f"{text}\n"))

    def lose(self, seconds):
        """Close all connections, and refuse new ones for some seconds."""
        self._away = seconds
        self._cut.set()

    def put_volume(self, name, files=()):
        """Add files to a Volume: {path below its root: bytes}."""
        self._volumes.setdefault(name, {}).update(files)

    def claim(self, place, **fields):
        """Add a claim on a folder of a Volume, as another run does."""
        claim = {"config": "a"} | fields
        self._dicts.setdefault(RUNS, {})[serialize(place)] = serialize(claim)

    def claims(self):
        """Return the claims on folders: {place: fields}."""
        entries = self._dicts.get(RUNS, {}).items()
        return {deserialize(key, None): deserialize(value, None) for key, value in entries}

    def named(self, rpc):
        """Return the requests of one RPC, in order."""
        return [request for name, request in self.calls if name == rpc]

    def image_layers(self):
        """Return the layers of the function's image, the base first."""
        layers, image_id = [], self.function.image_id
        while image_id:
            layers.append(self._objects[image_id].image)
            image_id = next((base.image_id for base in layers[-1].base_images), "")
        return layers[::-1]

    def secrets(self):
        """Return the function's Secrets: {name: {ENV: value}}. The name of unnamed ones is ""."""
        secrets = {}
        for request in map(self._objects.get, self.function.secret_ids):
            values = self.stored.get(request.deployment_name, request.env_dict)
            secrets.setdefault(request.deployment_name, {}).update(values)
        return secrets

    def mounted(self):
        """Return the local files in the container, copied or mounted: {absolute path: bytes}."""
        layers = self.image_layers()
        copied = [at.context_mount_id for at in layers if "COPY . /" in at.dockerfile_commands]
        mounts = [*copied, *self.function.mount_ids]
        files = [file for mount in mounts for file in self._objects[mount].files]
        return {file.filename: self._files[file.sha256_hex] for file in files}

    def materialize(self, root):
        """Write those files below root, which stands for the container's /."""
        for path, content in self.mounted().items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._away = None
        self._cut.set()
        self._thread.join()

    async def _serve(self):
        files = web.Application()
        files.add_routes([web.get("/{volume}/{path:.+}", self._get_file)])
        runner = web.AppRunner(files)
        await runner.setup()
        await web.SockSite(runner, self._sockets[1]).start()
        listening = self._sockets[0]
        while self._away is not None:
            # Without this option, every reply waits 40 ms for the client's delayed ACK.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = Server([self])
            await server.start(sock=listening)
            await asyncio.to_thread(self._cut.wait)
            self._cut.clear()
            server.close()
            for connection in self._connections:
                connection.close()
            listening = socket.socket()  # keeps the port, and refuses connections until it listens
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(self._address)
            await asyncio.sleep(self._away or 0)
        listening.close()
        await runner.cleanup()

    def __mapping__(self):
        """Return grpclib's table of RPCs, all answered by _respond."""
        return {
            path: handler._replace(func=partial(self._respond, path.rpartition("/")[2], handler))
            for path, handler in EVERY_RPC().__mapping__().items()
        }

    async def _respond(self, rpc, handler, stream):
        self._connections.add(stream._stream.connection)
        request = await stream.recv_message()
        self.calls.append((rpc, request))
        if rpc in self.transient:
            self.transient.remove(rpc)
            raise GRPCError(Status.UNAVAILABLE, "Try again")
        if refusal := self.refusals.get(rpc, self.refusals.get("*")):
            raise GRPCError(*refusal)
        if rpc in self.interrupts:
            signal.pthread_kill(threading.main_thread().ident, self.interrupts[rpc])
            await asyncio.Event().wait()
        if hasattr(self, rpc):
            reply = getattr(self, rpc)(request)
        else:  # app_id is ap-1, for example
            fields = handler.reply_type.DESCRIPTOR.fields_by_name
            reply = {key: self._new(key[:2], request) for key in fields if key.endswith("_id")}
        if inspect.isasyncgen(reply):
            async for fields in reply:
                await stream.send_message(handler.reply_type(**fields))
        else:
            fields = await reply if inspect.isawaitable(reply) else reply
            await stream.send_message(handler.reply_type(**fields))

    async def _get_file(self, request):
        at = request.match_info
        return web.Response(body=self._volumes[at["volume"]][at["path"]])

    def _new(self, prefix, request=None):
        """Return a new id, and keep its request."""
        name = f"{prefix}-{next(self._numbers)}"
        self._objects[name] = request
        return name

    # Modal's RPCs, by their own names: each gets the request and returns the fields of the reply.

    def EnvironmentGetOrCreate(self, request):
        settings = pb.EnvironmentSettings(image_builder_version="2099.01")  # newer than any client
        metadata = pb.EnvironmentMetadata(name="main", settings=settings)
        return {"environment_id": self._new("en", request), "metadata": metadata}

    def AppClientDisconnect(self, _):
        self._app_done = True
        return {}

    async def AppGetLogs(self, request):
        sent, done = int(request.last_entry_id or 0), False
        while not done:
            done = self._app_done
            if lines := self._log[sent:]:
                sent += len(lines)
                yield {"entry_id": str(sent), "items": lines}
            await asyncio.sleep(0.01)
        yield {"app_done": True}

    def MountBatchedCheckExistence(self, request):  # newer clients
        missing = [digest for digest in request.sha256_hex_hashes if digest not in self._files]
        return {"missing_sha256_hex_hashes": missing}

    def MountPutFile(self, request):
        if request.WhichOneof("data_oneof"):
            self._files[request.sha256_hex] = request.data
        return {"exists": request.sha256_hex in self._files}

    def ImageJoinStreaming(self, _):
        if not self.failed_build:
            metadata = pb.ImageMetadata(image_builder_version="2025.06")
            return {"result": RESULT(status=RESULT.GENERIC_STATUS_SUCCESS), "metadata": metadata}
        log, reason = self.failed_build
        result = RESULT(status=RESULT.GENERIC_STATUS_FAILURE, exception=reason)
        return {"result": result, "task_logs": [LINE(data=f"{log}\n")]}

    def SecretGetOrCreate(self, request):
        name = request.deployment_name
        if name and name not in self.stored:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found")
        return {"secret_id": self._new("st", request), "metadata": pb.SecretMetadata(name=name)}

    def VolumeGetOrCreate(self, request):
        self.put_volume(request.deployment_name)
        version = pb.VOLUME_FS_VERSION_V1
        metadata = pb.VolumeMetadata(name=request.deployment_name, version=version)
        return {"volume_id": self._new("vo", request), "metadata": metadata}

    def VolumeListFiles(self, request):
        files = self._volumes[self._objects[request.volume_id].deployment_name]
        folder = Path(request.path.strip("/"))
        paths = {path for path in map(Path, files) if folder in path.parents}
        if folder.name and not paths:
            raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {folder}")
        if not request.recursive:
            paths = {folder / path.relative_to(folder).parts[0] for path in paths}
        entry, kinds = pb.FileEntry, [pb.FileEntry.DIRECTORY, pb.FileEntry.FILE]
        return {"entries": [entry(path=p, type=kinds[p in files]) for p in map(str, paths)]}

    def VolumeGetFile2(self, request):
        name, path = self._objects[request.volume_id].deployment_name, request.path.strip("/")
        size = len(self._volumes[name][path])
        return {"get_urls": [f"{self._files_url}/{name}/{path}"], "size": size, "len": size}

    def DictGetOrCreate(self, request):
        return {"dict_id": self._new("di", request), "metadata": pb.DictMetadata(name=request.deployment_name)}

    def DictUpdate(self, request):
        kept = self._entries(request)
        (entry,) = request.updates
        if request.if_not_exists and entry.key in kept:
            return {"created": False}
        kept[entry.key] = entry.value
        return {"created": True}

    def DictGet(self, request):
        value = self._entries(request).get(request.key)
        return {"found": value is not None, "value": value}

    def DictPop(self, request):
        value = self._entries(request).pop(request.key, None)
        return {"found": value is not None, "value": value}

    def _entries(self, request):
        """Return a Dict's entries, {key: value}, both as Modal's client has serialized them."""
        return self._dicts.setdefault(self._objects[request.dict_id].deployment_name, {})

    def FunctionCreate(self, request):
        self.function = request.function
        same = "function_name function_type supported_input_formats supported_output_formats"
        fields = {name: getattr(request.function, name) for name in same.split()}
        handle = pb.FunctionHandleMetadata(**fields, definition_id="de-1")
        made = {"function_id": request.existing_function_id, "handle_metadata": handle}
        if "function_data" in pb.FunctionCreateResponse.DESCRIPTOR.fields_by_name:  # newer clients
            ranked = pb.FunctionData.RankedFunction(function=request.function)
            made["function_data"] = pb.FunctionData(ranked_functions=[ranked])
        return made

    def FunctionMap(self, request):
        (given,) = request.pipelined_inputs
        (job,), _ = deserialize_data_format(given.input.args, given.input.data_format, None)
        self.jobs.append(job)
        call_id, input_id = self._new("fc", request), self._new("in")
        self._running[call_id] = asyncio.create_task(asyncio.to_thread(self._run, job))
        put = pb.FunctionPutInputsResponseItem(input_id=input_id)
        return {"function_call_id": call_id, "pipelined_inputs": [put]}

    async def FunctionGetOutputs(self, request):
        # An unknown call stands for another user's call that does not end.
        call = self._running.get(request.function_call_id, asyncio.Future())
        if request.function_call_id == "fc-ended":
            call.set_result(RESULT(status=RESULT.GENERIC_STATUS_SUCCESS, data=serialize(0)))
        done, _ = await asyncio.wait([call], timeout=request.timeout)
        if not done:
            return {"num_unfinished_inputs": 1}
        kind = pb.DATA_FORMAT_PICKLE
        return {"outputs": [pb.FunctionGetOutputsItem(result=call.result(), data_format=kind)]}

    def _run(self, job):
        """Return the report of a call, as modal/_runtime/container_io_manager.py makes it."""
        try:
            value = self.answer(job)
        except Exception as error:
            failure, data = RESULT.GENERIC_STATUS_FAILURE, pickle_exception(error)
            return RESULT(status=failure, exception=repr(error), data=data)
        success = RESULT(status=RESULT.GENERIC_STATUS_SUCCESS, data=serialize(value))
        return value if isinstance(value, RESULT) else success
