"""A server on this machine that speaks the gRPC protocol of Modal's client.

It has the RPCs that one function call needs. It refuses any other RPC by its name.
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
from modal import exception
from modal._serialization import deserialize_data_format, pickle_exception, serialize
from modal_proto import api_pb2 as pb
from modal_proto.api_grpc import ModalClientBase

NO_REPLY = {"ClientHello", "AppHeartbeat", "AppPublish", "VolumeCommit", "VolumeReload"}
# RPCs that only make an object: the prefix of its id, and the reply's field for the id.
NEW = {"AppCreate": ("ap", "app_id"), "ImageGetOrCreate": ("im", "image_id")}
NEW |= {"MountGetOrCreate": ("mo", "mount_id"), "FunctionPrecreate": ("fu", "function_id")}
EVERY_RPC = type("EveryRPC", (ModalClientBase,), dict.fromkeys(ModalClientBase.__abstractmethods__))
RESULT = pb.GenericResult
# What Modal, not the function, reports of a call; the client raises the same, or RemoteError.
OUTCOMES = {
    exception.FunctionTimeoutError: RESULT.GENERIC_STATUS_TIMEOUT,
    exception.InternalFailure: RESULT.GENERIC_STATUS_INTERNAL_FAILURE,
    exception.InputCancellation: RESULT.GENERIC_STATUS_TERMINATED,
}


class ModalService:
    """Serve at self.url inside a `with` block.

    calls: each request, (name of the RPC, message). function: the definition in FunctionCreate.
    stored: Modal's Secrets, {name: {ENV: value}}. refusals: {RPC, or "*": (status, text)}.
    transient: RPCs that are refused once. interrupts: RPCs during which the client gets a Ctrl-C.
    failed_build: (log, reason) of each layer. answer: stands for the function, in a thread; if it
    raises one of OUTCOMES, Modal reports the container's end.
    """

    def __init__(self):
        self.calls, self.function, self.stored, self.builder = [], None, {}, "2025.06"
        self.answer = lambda args, kwargs: 0
        self.forever = lambda args, kwargs: self._stopped.wait()  # an answer that does not come
        self.refusals, self.transient, self.interrupts, self.failed_build = {}, set(), set(), None
        self._log, self._app_done, self._numbers = [], False, itertools.count(1)
        self._objects, self._files, self._blobs, self._volumes, self._running = {}, {}, {}, {}, {}
        self._stopped, self._cut, self._away = threading.Event(), threading.Event(), 0.0
        self._sockets = [_listen(0), _listen(0)]
        self._port, blobs = (each.getsockname()[1] for each in self._sockets)
        self.url, self._blob_url = f"http://127.0.0.1:{self._port}", f"http://127.0.0.1:{blobs}"
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def log(self, text):
        """Add a line to the function's log."""
        self._log.append(_line(text))

    def lose(self, seconds):
        """Close all connections, and accept no new one for some seconds."""
        self._away = seconds
        self._cut.set()

    def put_volume(self, name, files=()):
        """Add files to a Volume: {path below its root: bytes}."""
        self._volumes.setdefault(name, {}).update(files)

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
        files = [file for each in mounts for file in self._objects[each].files]
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
        self._stopped.set()
        self._cut.set()
        self._thread.join()

    async def _serve(self):
        blobs = web.Application()
        blobs.add_routes([web.get("/{id}", self._get_blob)])
        runner = web.AppRunner(blobs)
        await runner.setup()
        await web.SockSite(runner, self._sockets[1]).start()
        listening = self._sockets[0]
        while not self._stopped.is_set():
            self._cut.clear()
            server = _Server([self])
            await server.start(sock=listening)
            await asyncio.to_thread(self._cut.wait)
            server.cut()
            if not self._stopped.is_set():
                await asyncio.sleep(self._away)
                listening = _listen(self._port)
        await runner.cleanup()

    def __mapping__(self):
        """Return grpclib's table of RPCs, all answered by _respond."""
        return {
            path: handler._replace(func=partial(self._respond, path.rpartition("/")[2], handler))
            for path, handler in EVERY_RPC().__mapping__().items()
        }

    async def _respond(self, rpc, handler, stream):
        request = await stream.recv_message()
        self.calls.append((rpc, request))
        if rpc in self.transient:
            self.transient.remove(rpc)
            raise GRPCError(Status.UNAVAILABLE, "Try again")
        if refusal := self.refusals.get(rpc, self.refusals.get("*")):
            raise GRPCError(*refusal)
        if rpc in self.interrupts:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            await asyncio.Event().wait()
        if rpc in NEW:
            reply = {NEW[rpc][1]: self._new(NEW[rpc][0], request)}
        elif hasattr(self, rpc):
            reply = getattr(self, rpc)(request)
        elif rpc in NO_REPLY:
            reply = {}
        else:
            raise GRPCError(Status.UNIMPLEMENTED, f"{__name__} has no {rpc}")
        if inspect.isasyncgen(reply):
            async for fields in reply:
                await stream.send_message(handler.reply_type(**fields))
        else:
            fields = await reply if inspect.isawaitable(reply) else reply
            await stream.send_message(handler.reply_type(**fields))

    async def _get_blob(self, request):
        return web.Response(body=self._blobs[request.match_info["id"]])

    def _new(self, prefix, request=None):
        """Return a new id, and keep its request."""
        name = f"{prefix}-{next(self._numbers)}"
        self._objects[name] = request
        return name

    # Modal's RPCs, by their own names: each gets the request and returns the fields of the reply.

    def EnvironmentGetOrCreate(self, request):
        settings = pb.EnvironmentSettings(image_builder_version=self.builder)
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
        missing = [each for each in request.sha256_hex_hashes if each not in self._files]
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
        return {"result": result, "task_logs": [_line(log)]}

    def SecretGetOrCreate(self, request):
        name = request.deployment_name
        if name and name not in self.stored:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found")
        return {"secret_id": self._new("st", request), "metadata": pb.SecretMetadata(name=name)}

    def VolumeGetOrCreate(self, request):
        name = request.deployment_name
        if request.object_creation_type == pb.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
            self.put_volume(name)
        if name not in self._volumes:
            raise GRPCError(Status.NOT_FOUND, f"Volume '{name}' not found")
        metadata = pb.VolumeMetadata(name=name, version=pb.VOLUME_FS_VERSION_V1)
        return {"volume_id": self._new("vo", request), "metadata": metadata}

    def VolumeListFiles(self, request):
        files = self._volumes[self._objects[request.volume_id].deployment_name]
        return {"entries": _entries(files, request.path.strip("/"), request.recursive)}

    VolumeListFiles2 = VolumeListFiles

    def VolumeGetFile2(self, request):
        files = self._volumes[self._objects[request.volume_id].deployment_name]
        content, blob = files[request.path.strip("/")], self._new("bl")
        self._blobs[blob] = content
        size = len(content)
        return {"get_urls": [f"{self._blob_url}/{blob}"], "size": size, "len": size}

    def FunctionCreate(self, request):
        self.function = request.function
        handle = _handle(request.function)
        made = {"function_id": request.existing_function_id, "handle_metadata": handle}
        if "function_data" in pb.FunctionCreateResponse.DESCRIPTOR.fields_by_name:  # newer clients
            ranked = pb.FunctionData.RankedFunction(function=request.function)
            made["function_data"] = pb.FunctionData(ranked_functions=[ranked])
        return made

    def FunctionMap(self, request):
        (item,) = request.pipelined_inputs
        args, kwargs = deserialize_data_format(item.input.args, item.input.data_format, None)
        call_id, input_id = self._new("fc", request), self._new("in")
        self._running[call_id] = asyncio.create_task(asyncio.to_thread(self._run, args, kwargs))
        put = pb.FunctionPutInputsResponseItem(input_id=input_id)
        return {"function_call_id": call_id, "pipelined_inputs": [put]}

    async def FunctionGetOutputs(self, request):
        # An unknown call stands for another user's call that does not end.
        call = self._running.get(request.function_call_id, asyncio.Future())
        done, _ = await asyncio.wait([call], timeout=request.timeout)
        if not done:
            return {"num_unfinished_inputs": 1}
        kind = pb.DATA_FORMAT_PICKLE
        return {"outputs": [pb.FunctionGetOutputsItem(result=call.result(), data_format=kind)]}

    def _run(self, args, kwargs):
        """Return the report of a call, as modal/_runtime/container_io_manager.py makes it."""
        try:
            value = self.answer(args, kwargs)
        except tuple(OUTCOMES) as error:
            return RESULT(status=OUTCOMES[type(error)], exception=str(error))
        except BaseException as error:
            failure, data = RESULT.GENERIC_STATUS_FAILURE, pickle_exception(error)
            return RESULT(status=failure, exception=repr(error), data=data)
        return RESULT(status=RESULT.GENERIC_STATUS_SUCCESS, data=serialize(value))


class _Server(Server):
    """grpclib's server, with a way to close its connections."""

    def _protocol_factory(self):
        protocol = super()._protocol_factory()
        self.protocols = [*getattr(self, "protocols", []), protocol]
        return protocol

    def cut(self):
        self.close()
        for each in getattr(self, "protocols", []):
            if hasattr(each, "connection"):
                each.connection.close()


def _listen(port):
    listening = socket.create_server(("127.0.0.1", port))
    # Without this option, every reply waits 40 ms for the client's delayed ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _line(text):
    return pb.TaskLogs(data=f"{text}\n", file_descriptor=pb.FILE_DESCRIPTOR_STDOUT)


def _handle(function):
    same = ("function_name", "function_type", "supported_input_formats", "supported_output_formats")
    fields = {name: getattr(function, name) for name in same}
    return pb.FunctionHandleMetadata(**fields, definition_id="de-1")


def _entries(files, folder, recursive):
    """Return the entries of a folder of a Volume ("": its root), or of one file."""
    top, folders = Path(folder), {parent for path in files for parent in Path(path).parents}
    if folder and top not in folders and folder not in files:
        raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {folder}")
    paths = [path for path in [*folders, *map(Path, files)] if top in path.parents]
    paths = [path for path in paths if recursive or path.parent == top]
    paths = [top] if folder in files else paths
    entries = []
    for path in map(str, sorted(paths)):
        kind = pb.FileEntry.FILE if path in files else pb.FileEntry.DIRECTORY
        entries.append(pb.FileEntry(path=path, type=kind, size=len(files.get(path, b""))))
    return entries
