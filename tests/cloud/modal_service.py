"""Modal on this machine: a server that speaks the gRPC protocol of Modal's client.

The real client builds the app, uploads the files and translates the errors. The server has the RPCs
that one function call needs, and refuses any other by its name.
"""

import asyncio
import hashlib
import inspect
import itertools
import signal
import socket
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from aiohttp import web
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.const import Handler
from grpclib.server import Server, Stream
from modal import exception
from modal._serialization import deserialize_data_format, pickle_exception, serialize
from modal_proto import api_pb2 as pb
from modal_proto.api_grpc import ModalClientBase

BUILDER = "2025.06"
NO_FILES: Mapping[str, bytes] = MappingProxyType({})
NO_REPLY = {"ClientHello", "AppHeartbeat", "AppPublish", "VolumeCommit", "VolumeReload"}
EVERY_RPC = type("EveryRPC", (ModalClientBase,), dict.fromkeys(ModalClientBase.__abstractmethods__))
# What Modal, not the function, reports of a call; the client raises the same, or RemoteError.
OUTCOMES: Mapping[type[BaseException], "pb.GenericResult.GenericStatus.ValueType"] = {
    exception.FunctionTimeoutError: pb.GenericResult.GENERIC_STATUS_TIMEOUT,
    exception.InternalFailure: pb.GenericResult.GENERIC_STATUS_INTERNAL_FAILURE,
    exception.RemoteError: pb.GenericResult.GENERIC_STATUS_INIT_FAILURE,
    exception.InputCancellation: pb.GenericResult.GENERIC_STATUS_TERMINATED,
}

type Args = tuple[Any, ...]
type Fields = dict[str, Any]


class ModalService:
    """`with ModalService() as service:` it listens at service.url until the end of the block.

    calls: each request, (name of the RPC, message). function: the definition in FunctionCreate.
    stored: Modal's Secrets, {name: {ENV: value}}. answer: does the function's work in a thread, with
    the args and kwargs that the client sent; an exception of OUTCOMES is Modal's own report.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.app: pb.AppCreateRequest | None = None
        self.function: pb.Function | None = None
        self.answer: Callable[[Args, Fields], object] = lambda args, kwargs: 0
        self.stored: dict[str, dict[str, str]] = {}
        self.builder = BUILDER
        self._refusals: dict[str, tuple[Status, str]] = {}
        self._interrupts: set[str] = set()
        self._failed_build: tuple[str, str] | None = None
        self._log: list[pb.TaskLogs] = []
        self._app_done = False
        self._numbers = itertools.count(1)
        self._objects: dict[str, Any] = {}
        self._files: dict[str, bytes] = {}
        self._blobs: dict[str, bytes] = {}
        self._volumes: dict[str, dict[str, bytes]] = {}
        self._running: dict[str, asyncio.Future[pb.GenericResult]] = {}
        self._stopped, self._cut, self._away = threading.Event(), threading.Event(), 0.0
        self._sockets = [_listen(0), _listen(0)]
        self._port, blobs = (each.getsockname()[1] for each in self._sockets)
        self.url, self._blob_url = f"http://127.0.0.1:{self._port}", f"http://127.0.0.1:{blobs}"
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    # What a test says

    def log(self, text: str) -> None:
        """A line of the function's output, for the client."""
        self._log.append(_line(text))

    def refuse(self, rpc: str, status: Status, message: str) -> None:
        """Every call of this RPC fails so; of all of them, where rpc is "*"."""
        self._refusals[rpc] = (status, message)

    def interrupt(self, rpc: str) -> None:
        """Ctrl-C at the client, while it waits for this RPC."""
        self._interrupts.add(rpc)

    def fail_image(self, log: str, reason: str = "") -> None:
        """Every layer's build writes this log and fails; the client is told the reason, if any."""
        self._failed_build = (log, reason)

    def lose(self, seconds: float) -> None:
        """Cut all connections, and take none for some seconds."""
        self._away = seconds
        self._cut.set()

    def new_call(self) -> str:
        """A call of `answer` that somebody else started, by its id."""
        call = self._new("fc")
        loop = self._loop
        loop.call_soon_threadsafe(lambda: self._running.update({call: loop.create_future()}))
        return call

    def put_volume(self, name: str, files: Mapping[str, bytes] = NO_FILES) -> None:
        """A Volume that is there, with these files: {path below its root: bytes}."""
        self._volumes.setdefault(name, {}).update(files)

    def forever(self, *_: object) -> None:
        """An answer that does not come."""
        self._stopped.wait()

    # What a test reads

    def named(self, rpc: str) -> list[Any]:
        """The requests of one RPC, in order."""
        return [request for name, request in self.calls if name == rpc]

    def image_layers(self) -> list[pb.Image]:
        """The layers of the function's image, base first: dockerfile_commands, context_files …"""
        layers: list[pb.Image] = []
        image_id = self._created.image_id
        while image_id:
            layers.append(self._objects[image_id].image)
            image_id = next((base.image_id for base in layers[-1].base_images), "")
        return layers[::-1]

    def secrets(self) -> dict[str, dict[str, str]]:
        """The function's Secrets: {name, "" for those made for this run: {ENV: value}}."""
        found: dict[str, dict[str, str]] = {}
        for secret_id in self._created.secret_ids:
            request = self._objects[secret_id]
            values = self.stored.get(request.deployment_name, request.env_dict)
            found.setdefault(request.deployment_name, {}).update(values)
        return found

    def volumes(self) -> dict[str, str]:
        """The Volumes that the function writes and Modal commits: {mount path: name}."""
        return {
            mount.mount_path: self._objects[mount.volume_id].deployment_name
            for mount in self._created.volume_mounts
            if mount.allow_background_commits and not mount.read_only
        }

    def mounted(self) -> dict[str, bytes]:
        """The local files as the container has them, copied or mounted: {absolute path: bytes}."""
        layers = self.image_layers()
        copied = [at.context_mount_id for at in layers if "COPY . /" in at.dockerfile_commands]
        return {
            file.filename: self._files[file.sha256_hex]
            for mount_id in [*copied, *self._created.mount_ids]
            for file in self._objects[mount_id].files
        }

    def materialize(self, root: Path) -> None:
        """Writes those files below root, as if that were the container's /."""
        for path, content in self.mounted().items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    @property
    def _created(self) -> pb.Function:
        assert self.function, "no function was created"
        return self.function

    # The server

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._cut.set()
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        blobs = web.Application(client_max_size=0)
        blobs.add_routes([web.put("/{id}", self._put_blob), web.get("/{id}", self._get_blob)])
        runner = web.AppRunner(blobs)
        await runner.setup()
        await web.SockSite(runner, self._sockets[1]).start()
        listening = self._sockets[0]
        while not self._stopped.is_set():
            self._cut.clear()
            server = _Server([self])
            await server.start(sock=listening)
            await asyncio.to_thread(self._cut.wait)
            server.close()
            for each in server.connections:
                each.connection.close()
            if not self._stopped.is_set():
                await asyncio.sleep(self._away)
                listening = _listen(self._port)
        await runner.cleanup()

    def __mapping__(self) -> dict[str, Handler]:
        """grpclib's table: every path of Modal's service, and who answers it."""
        return {
            path: handler._replace(func=partial(self._respond, path.rpartition("/")[2], handler))
            for path, handler in EVERY_RPC().__mapping__().items()
        }

    async def _respond(self, rpc: str, handler: Handler, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        self.calls.append((rpc, request))
        if refusal := self._refusals.get(rpc, self._refusals.get("*")):
            raise GRPCError(*refusal)
        if rpc in self._interrupts:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            await asyncio.Event().wait()
        if rpc not in NO_REPLY and not hasattr(self, rpc):
            raise GRPCError(Status.UNIMPLEMENTED, f"{__name__} has no {rpc}")
        reply: Any = {} if rpc in NO_REPLY else getattr(self, rpc)(request)
        if not inspect.isasyncgen(reply):
            reply = _once(await reply if inspect.isawaitable(reply) else reply)
        async for fields in reply:
            await stream.send_message(handler.reply_type(**fields))

    async def _put_blob(self, request: web.Request) -> web.Response:
        content = self._blobs[request.match_info["id"]] = await request.read()
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return web.Response(headers={"ETag": f'"{etag}"'})

    async def _get_blob(self, request: web.Request) -> web.Response:
        return web.Response(body=self._blobs[request.match_info["id"]])

    def _new(self, prefix: str, request: Message | None = None) -> str:
        """An id of Modal's kind, and the request behind it."""
        name = f"{prefix}-{next(self._numbers)}"
        self._objects[name] = request
        return name

    # Modal's RPCs, in its names: each gets the request, and says the fields of the reply

    def EnvironmentGetOrCreate(self, request: pb.EnvironmentGetOrCreateRequest) -> Fields:
        settings = pb.EnvironmentSettings(image_builder_version=self.builder)
        metadata = pb.EnvironmentMetadata(name="main", settings=settings)
        return {"environment_id": self._new("en", request), "metadata": metadata}

    def AppCreate(self, request: pb.AppCreateRequest) -> Fields:
        self.app = request
        app_id = self._new("ap", request)
        return {"app_id": app_id, "app_page_url": f"{self.url}/{app_id}"}

    def AppClientDisconnect(self, _: pb.AppClientDisconnectRequest) -> Fields:
        self._app_done = True
        return {}

    async def AppGetLogs(self, request: pb.AppGetLogsRequest) -> AsyncIterator[Fields]:
        sent, done = int(request.last_entry_id or 0), False
        while not done:
            done = self._app_done
            if lines := self._log[sent:]:
                sent += len(lines)
                yield {"entry_id": str(sent), "items": lines}
            await asyncio.sleep(0.01)
        yield {"app_done": True}

    def BlobCreate(self, _: pb.BlobCreateRequest) -> Fields:
        blob = self._new("bl")
        urls = pb.UploadUrlList(items=[f"{self._blob_url}/{blob}"])
        return {"blob_ids": [blob], "upload_urls": urls}

    def MountPutFile(self, request: pb.MountPutFileRequest) -> Fields:
        if request.WhichOneof("data_oneof"):
            content = self._blobs.get(request.data_blob_id, request.data)
            assert hashlib.sha256(content).hexdigest() == request.sha256_hex
            self._files[request.sha256_hex] = content
        return {"exists": request.sha256_hex in self._files}

    def MountGetOrCreate(self, request: pb.MountGetOrCreateRequest) -> Fields:
        return {
            "mount_id": self._new("mo", request),
            "handle_metadata": pb.MountHandleMetadata(content_checksum_sha256_hex="0" * 64),
        }

    def ImageGetOrCreate(self, request: pb.ImageGetOrCreateRequest) -> Fields:
        return {"image_id": self._new("im", request)}

    def ImageJoinStreaming(self, _: pb.ImageJoinStreamingRequest) -> Fields:
        if not self._failed_build:
            result = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS)
            metadata = pb.ImageMetadata(image_builder_version=self.builder)
            return {"result": result, "metadata": metadata}
        log, reason = self._failed_build
        status = pb.GenericResult.GENERIC_STATUS_FAILURE
        result = pb.GenericResult(status=status, exception=reason)
        return {"result": result, "task_logs": [_line(log)]}

    def SecretGetOrCreate(self, request: pb.SecretGetOrCreateRequest) -> Fields:
        name = request.deployment_name
        if name and name not in self.stored:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found")
        return {"secret_id": self._new("st", request), "metadata": pb.SecretMetadata(name=name)}

    def VolumeGetOrCreate(self, request: pb.VolumeGetOrCreateRequest) -> Fields:
        name = request.deployment_name
        if request.object_creation_type == pb.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
            self.put_volume(name)
        if name not in self._volumes:
            raise GRPCError(Status.NOT_FOUND, f"Volume '{name}' not found")
        version = request.version or pb.VOLUME_FS_VERSION_V1
        metadata = pb.VolumeMetadata(name=name, version=version)
        return {"volume_id": self._new("vo", request), "metadata": metadata}

    def VolumeListFiles(
        self, request: pb.VolumeListFilesRequest | pb.VolumeListFiles2Request
    ) -> Fields:
        files = self._volumes[self._objects[request.volume_id].deployment_name]
        return {"entries": _entries(files, request.path.strip("/"), request.recursive)}

    VolumeListFiles2 = VolumeListFiles

    def VolumeGetFile2(self, request: pb.VolumeGetFile2Request) -> Fields:
        files = self._volumes[self._objects[request.volume_id].deployment_name]
        content = files.get(request.path.strip("/"))
        if content is None:
            raise GRPCError(Status.NOT_FOUND, f"No such file: {request.path}")
        blob = self._new("bl")
        self._blobs[blob] = content
        return {"get_urls": [f"{self._blob_url}/{blob}"], "size": len(content)}

    def FunctionPrecreate(self, request: pb.FunctionPrecreateRequest) -> Fields:
        return {"function_id": self._new("fu", request), "handle_metadata": _handle(request)}

    def FunctionCreate(self, request: pb.FunctionCreateRequest) -> Fields:
        self.function = request.function
        made = {
            "function_id": request.existing_function_id,
            "handle_metadata": _handle(request.function),
        }
        if "function_data" in pb.FunctionCreateResponse.DESCRIPTOR.fields_by_name:  # newer clients
            ranked = pb.FunctionData.RankedFunction(function=request.function)
            made["function_data"] = pb.FunctionData(ranked_functions=[ranked])
        return made

    def FunctionMap(self, request: pb.FunctionMapRequest) -> Fields:
        (item,) = request.pipelined_inputs
        content = self._blobs.get(item.input.args_blob_id, item.input.args)
        args, kwargs = deserialize_data_format(content, item.input.data_format, None)
        call_id, input_id = self._new("fc", request), self._new("in")
        self._running[call_id] = asyncio.create_task(asyncio.to_thread(self._run, args, kwargs))
        put = pb.FunctionPutInputsResponseItem(input_id=input_id)
        return {"function_call_id": call_id, "pipelined_inputs": [put]}

    async def FunctionGetOutputs(self, request: pb.FunctionGetOutputsRequest) -> Fields:
        call = self._running[request.function_call_id]
        done, _ = await asyncio.wait([call], timeout=request.timeout)
        if not done:
            return {"num_unfinished_inputs": 1}
        terminated = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_TERMINATED)
        result = terminated if call.cancelled() else call.result()
        return {
            "outputs": [pb.FunctionGetOutputsItem(result=result, data_format=pb.DATA_FORMAT_PICKLE)]
        }

    def FunctionCallCancel(self, request: pb.FunctionCallCancelRequest) -> Fields:
        self._running[request.function_call_id].cancel()
        return {}

    def _run(self, args: Args, kwargs: Fields) -> pb.GenericResult:
        """What a container reports of a call: see modal/_runtime/container_io_manager.py."""
        try:
            value = self.answer(args, kwargs)
        except tuple(OUTCOMES) as exc:
            return pb.GenericResult(status=OUTCOMES[type(exc)], exception=str(exc))
        except BaseException as exc:
            return pb.GenericResult(
                status=pb.GenericResult.GENERIC_STATUS_FAILURE,
                exception=repr(exc),
                traceback=traceback.format_exc(),
                data=pickle_exception(exc),
            )
        status = pb.GenericResult.GENERIC_STATUS_SUCCESS
        return pb.GenericResult(status=status, data=serialize(value))


class _Server(Server):
    """grpclib's, whose connections can be cut."""

    def _protocol_factory(self) -> Any:
        made = super()._protocol_factory()
        self.__dict__.setdefault("made", []).append(made)
        return made

    @property
    def connections(self) -> list[Any]:
        return [each for each in self.__dict__.get("made", []) if hasattr(each, "connection")]


def _listen(port: int) -> socket.socket:
    made = socket.create_server(("127.0.0.1", port))
    # Else every reply waits 40 ms for the client's delayed ACK.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


async def _once(fields: Any) -> AsyncIterator[Any]:
    yield fields


def _line(text: str) -> pb.TaskLogs:
    return pb.TaskLogs(data=f"{text}\n", file_descriptor=pb.FILE_DESCRIPTOR_STDOUT)


def _handle(function: pb.Function | pb.FunctionPrecreateRequest) -> pb.FunctionHandleMetadata:
    return pb.FunctionHandleMetadata(
        function_name=function.function_name,
        function_type=function.function_type,
        definition_id="de-1",
        supported_input_formats=function.supported_input_formats,
        supported_output_formats=function.supported_output_formats,
    )


def _entries(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[pb.FileEntry]:
    """What is in a folder of a Volume ("": its root); of a file, itself."""
    kinds = dict.fromkeys(files, pb.FileEntry.FILE)
    for path in files:
        above = [str(parent) for parent in Path(path).parents][:-1]
        kinds |= dict.fromkeys(above, pb.FileEntry.DIRECTORY)
    if folder and folder not in kinds:
        raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {folder}")
    inside = [path for path in sorted(kinds) if not folder or path.startswith(f"{folder}/")]
    if not recursive:
        inside = [path for path in inside if str(Path(path).parent) == (folder or ".")]
    if folder in files:
        inside = [folder]
    return [
        pb.FileEntry(path=path, type=kinds[path], size=len(files.get(path, b""))) for path in inside
    ]
