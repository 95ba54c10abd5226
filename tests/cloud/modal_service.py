"""Modal, on this machine: a server that speaks the gRPC protocol of Modal's client library.

Not a mock of `modal`: the real library builds the app, serializes the call, hashes and uploads the
files and translates the errors; only the network begins here. What a test reads is therefore what
would have left the machine, and a call that Modal's client does not know is an error, as it is there.
Of Modal's RPCs it has those that a run of one function needs; any other is refused by its name.
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

import modal
from aiohttp import web
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.const import Handler
from grpclib.server import Server, Stream
from modal._serialization import deserialize_data_format, pickle_exception, serialize
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientBase

BUILDER = "2025.06"
_EVERY_RPC = type(
    "_EveryRPC", (ModalClientBase,), dict.fromkeys(ModalClientBase.__abstractmethods__)
)
_STATUS = api_pb2.GenericResult
# What the client raises for an outcome, and the status that a container or its worker reports then.
_OUTCOMES: Mapping[type[BaseException], int] = MappingProxyType(
    {
        modal.exception.FunctionTimeoutError: _STATUS.GENERIC_STATUS_TIMEOUT,
        modal.exception.InternalFailure: _STATUS.GENERIC_STATUS_INTERNAL_FAILURE,
        modal.exception.RemoteError: _STATUS.GENERIC_STATUS_INIT_FAILURE,
        modal.exception.InputCancellation: _STATUS.GENERIC_STATUS_TERMINATED,
    }
)

Answer = Callable[[tuple[Any, ...], dict[str, Any]], Any]


class ModalService:
    """`with ModalService() as service`: it listens at service.url until the end of the block.

    calls    every request: (name of the RPC, its message), in order, the refused ones too
    app      what AppCreate got; None before
    function the definition that FunctionCreate got: resources, timeout_secs, module_name …; or None
    answer   what the function does: called with the args and kwargs that the client sent, in a
             thread. What it returns or raises reaches the client as from a container. Four
             exceptions of modal.exception stand for what Modal itself reports, and the client
             raises: FunctionTimeoutError, InternalFailure (lost by Modal), RemoteError (as text:
             the container did not start), InputCancellation (terminated; RemoteError at the client)
    stored   the Secrets that Modal keeps by name: {name: {ENV: value}}
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.app: api_pb2.AppCreateRequest | None = None
        self.function: api_pb2.Function | None = None
        self.answer: Answer = lambda args, kwargs: 0
        self.stored: dict[str, dict[str, str]] = {}
        self._refusals: dict[str, tuple[Status, str]] = {}
        self._failed_build: tuple[str, str] | None = None
        self._numbers = itertools.count(1)
        self._objects: dict[str, Any] = {}
        self._files: dict[str, bytes] = {}
        self._blobs: dict[str, bytes] = {}
        self._volumes: dict[str, dict[str, bytes]] = {}
        self._calls: dict[str, asyncio.Future[api_pb2.FunctionGetOutputsItem]] = {}
        self._log: list[api_pb2.TaskLogs] = []
        self._app_done = False
        self._stopped = threading.Event()
        self._sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.url, self._blob_url = (
            f"http://127.0.0.1:{each.getsockname()[1]}" for each in self._sockets
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    # What a test says

    def log(self, text: str, *, error: bool = False) -> None:
        """A line of the function's output (error: of its standard error) for the client."""
        stream = api_pb2.FILE_DESCRIPTOR_STDERR if error else api_pb2.FILE_DESCRIPTOR_STDOUT
        self._log.append(api_pb2.TaskLogs(data=f"{text}\n", file_descriptor=stream))

    def refuse(self, rpc: str, status: Status, message: str) -> None:
        """Every call of this RPC fails so; of any, where rpc is "*"."""
        self._refusals[rpc] = (status, message)

    def fail_image(self, log: str, exception: str = "") -> None:
        """The next layer that is built writes this log and fails, with this reason if any."""
        self._failed_build = (f"{log}\n", exception)

    def put_volume(self, name: str, files: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """A Volume that is there, with these files: {path below its root: bytes}."""
        self._volumes.setdefault(name, {}).update(files)

    def forever(self, *_: object) -> None:
        """An answer that does not come."""
        self._stopped.wait()

    def interrupted(self, *_: object) -> None:
        """An answer that does not come, and Ctrl-C at the client, which waits for it."""
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        self._stopped.wait()

    # What a test reads

    def named(self, rpc: str) -> list[Any]:
        """The requests of one RPC, in order."""
        return [request for name, request in self.calls if name == rpc]

    def image_layers(self) -> list[api_pb2.Image]:
        """The layers of the function's image, base first: dockerfile_commands, context_files …"""
        layers: list[api_pb2.Image] = []
        image_id = self._function.image_id
        while image_id:
            layers.append(self._objects[image_id].image)
            image_id = next((base.image_id for base in layers[-1].base_images), "")
        return layers[::-1]

    def secrets(self) -> dict[str, dict[str, str]]:
        """The function's Secrets: {name, "" for those made for this run: {ENV: value}}."""
        found: dict[str, dict[str, str]] = {}
        for secret_id in self._function.secret_ids:
            request = self._objects[secret_id]
            values = self.stored.get(request.deployment_name, dict(request.env_dict))
            found.setdefault(request.deployment_name, {}).update(values)
        return found

    def volumes(self) -> dict[str, str]:
        """The function's Volumes: {mount path: name}, those only that Modal commits by itself."""
        return {
            mount.mount_path: self._objects[mount.volume_id].deployment_name
            for mount in self._function.volume_mounts
            if mount.allow_background_commits and not mount.read_only
        }

    def mounted(self) -> dict[str, bytes]:
        """The local files as the container has them, copied or mounted: {absolute path: bytes}."""
        copied = [
            layer.context_mount_id
            for layer in self.image_layers()
            if "COPY . /" in layer.dockerfile_commands
        ]
        return {
            file.filename: self._files[file.sha256_hex]
            for mount_id in [*copied, *sorted(self._function.mount_ids)]
            for file in self._objects[mount_id].files
        }

    def materialize(self, root: Path) -> None:
        """Writes those files below root, as if that were the container's /."""
        for path, content in self.mounted().items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    @property
    def _function(self) -> api_pb2.Function:
        assert self.function, "no function was created"
        return self.function

    # The server

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    async def _serve(self) -> None:
        blobs = web.Application(client_max_size=0)
        blobs.add_routes([web.put("/{id}", self._put_blob), web.get("/{id}", self._get_blob)])
        runner = web.AppRunner(blobs)
        await runner.setup()
        server = Server([self])
        await server.start(sock=self._sockets[0])
        await web.SockSite(runner, self._sockets[1]).start()
        await asyncio.to_thread(self._stopped.wait)
        server.close()
        await runner.cleanup()

    def __mapping__(self) -> dict[str, Handler]:
        """grpclib's table: every path of Modal's service, and who answers it."""
        return {
            path: handler._replace(func=partial(self._respond, path.rpartition("/")[2]))
            for path, handler in _EVERY_RPC().__mapping__().items()
        }

    async def _respond(self, rpc: str, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        self.calls.append((rpc, request))
        if refusal := self._refusals.get(rpc) or self._refusals.get("*"):
            raise GRPCError(*refusal)
        if not hasattr(self, rpc):
            raise GRPCError(Status.UNIMPLEMENTED, f"{__name__} has no {rpc}")
        reply = getattr(self, rpc)(request)
        if not inspect.isasyncgen(reply):
            reply = _once(await reply if inspect.isawaitable(reply) else reply)
        async for message in reply:
            await stream.send_message(message)

    async def _put_blob(self, request: web.Request) -> web.Response:
        content = self._blobs[request.match_info["id"]] = await request.read()
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return web.Response(headers={"ETag": f'"{etag}"'})

    async def _get_blob(self, request: web.Request) -> web.Response:
        return web.Response(body=self._blobs[request.match_info["id"]])

    def _new(self, prefix: str, request: object = None) -> str:
        name = f"{prefix}-{next(self._numbers)}"
        self._objects[name] = request
        return name

    # Modal's RPCs, in its names. Each takes the request and makes the reply

    def ClientHello(self, _: Empty) -> api_pb2.ClientHelloResponse:
        return api_pb2.ClientHelloResponse()

    def EnvironmentGetOrCreate(
        self, request: api_pb2.EnvironmentGetOrCreateRequest
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        settings = api_pb2.EnvironmentSettings(image_builder_version=BUILDER)
        metadata = api_pb2.EnvironmentMetadata(name="main", settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id=self._new("en", request), metadata=metadata
        )

    def AppCreate(self, request: api_pb2.AppCreateRequest) -> api_pb2.AppCreateResponse:
        self.app = request
        app_id = self._new("ap", request)
        return api_pb2.AppCreateResponse(app_id=app_id, app_page_url=f"{self.url}/{app_id}")

    def AppPublish(self, _: api_pb2.AppPublishRequest) -> api_pb2.AppPublishResponse:
        return api_pb2.AppPublishResponse()

    def AppHeartbeat(self, _: api_pb2.AppHeartbeatRequest) -> Empty:
        return Empty()

    def AppClientDisconnect(self, _: api_pb2.AppClientDisconnectRequest) -> Empty:
        self._app_done = True
        return Empty()

    async def AppGetLogs(
        self, request: api_pb2.AppGetLogsRequest
    ) -> AsyncIterator[api_pb2.TaskLogsBatch]:
        sent, done = int(request.last_entry_id or 0), False
        while not done:
            done = self._app_done
            if sent < len(self._log):
                lines = self._log[sent:]
                sent += len(lines)
                yield api_pb2.TaskLogsBatch(entry_id=str(sent), items=lines)
            await asyncio.sleep(0.01)
        yield api_pb2.TaskLogsBatch(app_done=True)

    def BlobCreate(self, _: api_pb2.BlobCreateRequest) -> api_pb2.BlobCreateResponse:
        blob = self._new("bl")
        urls = api_pb2.UploadUrlList(items=[f"{self._blob_url}/{blob}"])
        return api_pb2.BlobCreateResponse(blob_ids=[blob], upload_urls=urls)

    def MountPutFile(self, request: api_pb2.MountPutFileRequest) -> api_pb2.MountPutFileResponse:
        if request.WhichOneof("data_oneof"):
            content = self._blobs.get(request.data_blob_id, request.data)
            assert hashlib.sha256(content).hexdigest() == request.sha256_hex
            self._files[request.sha256_hex] = content
        return api_pb2.MountPutFileResponse(exists=request.sha256_hex in self._files)

    def MountGetOrCreate(
        self, request: api_pb2.MountGetOrCreateRequest
    ) -> api_pb2.MountGetOrCreateResponse:
        checksum = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
        return api_pb2.MountGetOrCreateResponse(
            mount_id=self._new("mo", request),
            handle_metadata=api_pb2.MountHandleMetadata(content_checksum_sha256_hex=checksum),
        )

    def ImageGetOrCreate(
        self, request: api_pb2.ImageGetOrCreateRequest
    ) -> api_pb2.ImageGetOrCreateResponse:
        return api_pb2.ImageGetOrCreateResponse(image_id=self._new("im", request))

    def ImageJoinStreaming(
        self, _: api_pb2.ImageJoinStreamingRequest
    ) -> api_pb2.ImageJoinStreamingResponse:
        if self._failed_build:
            log, exception = self._failed_build
            status = _STATUS.GENERIC_STATUS_FAILURE
            return api_pb2.ImageJoinStreamingResponse(
                result=api_pb2.GenericResult(status=status, exception=exception),
                task_logs=[_line(log, api_pb2.FILE_DESCRIPTOR_STDERR)],
            )
        return api_pb2.ImageJoinStreamingResponse(
            result=api_pb2.GenericResult(status=_STATUS.GENERIC_STATUS_SUCCESS),
            metadata=api_pb2.ImageMetadata(image_builder_version=BUILDER),
        )

    def SecretGetOrCreate(
        self, request: api_pb2.SecretGetOrCreateRequest
    ) -> api_pb2.SecretGetOrCreateResponse:
        name = request.deployment_name
        if name and name not in self.stored:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found")
        return api_pb2.SecretGetOrCreateResponse(
            secret_id=self._new("st", request), metadata=api_pb2.SecretMetadata(name=name)
        )

    def VolumeGetOrCreate(
        self, request: api_pb2.VolumeGetOrCreateRequest
    ) -> api_pb2.VolumeGetOrCreateResponse:
        name = request.deployment_name
        if request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
            self.put_volume(name)
        if name not in self._volumes:
            raise GRPCError(Status.NOT_FOUND, f"Volume '{name}' not found")
        version = request.version or api_pb2.VOLUME_FS_VERSION_V1
        return api_pb2.VolumeGetOrCreateResponse(
            volume_id=self._new("vo", request),
            metadata=api_pb2.VolumeMetadata(name=name, version=version),
        )

    def VolumeListFiles(
        self, request: api_pb2.VolumeListFilesRequest
    ) -> api_pb2.VolumeListFilesResponse:
        files = self._volumes[self._objects[request.volume_id].deployment_name]
        return api_pb2.VolumeListFilesResponse(
            entries=_entries(files, request.path.strip("/"), request.recursive)
        )

    def VolumeListFiles2(
        self, request: api_pb2.VolumeListFiles2Request
    ) -> api_pb2.VolumeListFiles2Response:
        files = self._volumes[self._objects[request.volume_id].deployment_name]
        return api_pb2.VolumeListFiles2Response(
            entries=_entries(files, request.path.strip("/"), request.recursive)
        )

    def VolumeGetFile2(
        self, request: api_pb2.VolumeGetFile2Request
    ) -> api_pb2.VolumeGetFile2Response:
        files = self._volumes[self._objects[request.volume_id].deployment_name]
        content = files.get(request.path.strip("/"))
        if content is None:
            raise GRPCError(Status.NOT_FOUND, f"No such file: {request.path}")
        blob = self._new("bl")
        self._blobs[blob] = content
        return api_pb2.VolumeGetFile2Response(
            get_urls=[f"{self._blob_url}/{blob}"], size=len(content), len=len(content)
        )

    def VolumeCommit(self, _: api_pb2.VolumeCommitRequest) -> api_pb2.VolumeCommitResponse:
        return api_pb2.VolumeCommitResponse()

    def VolumeReload(self, _: api_pb2.VolumeReloadRequest) -> Empty:
        return Empty()

    def FunctionPrecreate(
        self, request: api_pb2.FunctionPrecreateRequest
    ) -> api_pb2.FunctionPrecreateResponse:
        return api_pb2.FunctionPrecreateResponse(
            function_id=self._new("fu", request), handle_metadata=_handle(request)
        )

    def FunctionCreate(
        self, request: api_pb2.FunctionCreateRequest
    ) -> api_pb2.FunctionCreateResponse:
        self.function = request.function
        return api_pb2.FunctionCreateResponse(
            function_id=request.existing_function_id, handle_metadata=_handle(request.function)
        )

    def FunctionMap(self, request: api_pb2.FunctionMapRequest) -> api_pb2.FunctionMapResponse:
        call_id = self._new("fc", request)
        (put,) = request.pipelined_inputs
        args, kwargs = deserialize_data_format(
            self._blobs.get(put.input.args_blob_id, put.input.args), put.input.data_format, None
        )
        self._calls[call_id] = asyncio.ensure_future(asyncio.to_thread(self._run, args, kwargs))
        return api_pb2.FunctionMapResponse(
            function_call_id=call_id,
            pipelined_inputs=[api_pb2.FunctionPutInputsResponseItem(input_id=self._new("in"))],
        )

    async def FunctionGetOutputs(
        self, request: api_pb2.FunctionGetOutputsRequest
    ) -> api_pb2.FunctionGetOutputsResponse:
        call = self._calls[request.function_call_id]
        done, _ = await asyncio.wait([call], timeout=request.timeout)
        if not done:
            return api_pb2.FunctionGetOutputsResponse(num_unfinished_inputs=1)
        result = api_pb2.GenericResult(status=_STATUS.GENERIC_STATUS_TERMINATED)
        item = api_pb2.FunctionGetOutputsItem(
            result=result if call.cancelled() else call.result(),
            data_format=api_pb2.DATA_FORMAT_PICKLE,
        )
        return api_pb2.FunctionGetOutputsResponse(outputs=[item])

    def FunctionCallCancel(self, request: api_pb2.FunctionCallCancelRequest) -> Empty:
        self._calls[request.function_call_id].cancel()
        return Empty()

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> api_pb2.GenericResult:
        """What a container would report of this call: see modal/_runtime/container_io_manager.py."""
        try:
            value = self.answer(args, kwargs)
        except tuple(_OUTCOMES) as exc:
            return api_pb2.GenericResult(status=_OUTCOMES[type(exc)], exception=str(exc))
        except BaseException as exc:
            return api_pb2.GenericResult(
                status=_STATUS.GENERIC_STATUS_FAILURE,
                exception=repr(exc),
                traceback=traceback.format_exc(),
                data=pickle_exception(exc),
            )
        status = _STATUS.GENERIC_STATUS_SUCCESS
        return api_pb2.GenericResult(status=status, data=serialize(value))


async def _once(message: Message) -> AsyncIterator[Message]:
    yield message


def _line(text: str, stream: int) -> api_pb2.TaskLogs:
    return api_pb2.TaskLogs(data=f"{text}\n", file_descriptor=stream)


def _handle(
    function: api_pb2.Function | api_pb2.FunctionPrecreateRequest,
) -> api_pb2.FunctionHandleMetadata:
    return api_pb2.FunctionHandleMetadata(
        function_name=function.function_name,
        function_type=function.function_type,
        definition_id="de-1",
        supported_input_formats=function.supported_input_formats,
        supported_output_formats=function.supported_output_formats,
    )


def _entries(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[api_pb2.FileEntry]:
    """The entries of a folder of a Volume; of one file, the file itself."""
    if folder in files:
        return [_entry(folder, files[folder])]
    found: dict[str, bytes | None] = {}
    for path, content in files.items():
        if not folder or path.startswith(f"{folder}/"):
            start = len(folder) + 1 if folder else 0
            ends = [at for at, char in enumerate(path) if char == "/" and at >= start]
            found |= dict.fromkeys(path[:end] for end in ends[: None if recursive else 1])
            if recursive or not ends:
                found[path] = content
    if not found and folder:
        raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {folder}")
    return [_entry(path, content) for path, content in found.items()]


def _entry(path: str, content: bytes | None) -> api_pb2.FileEntry:
    kind = api_pb2.FileEntry.DIRECTORY if content is None else api_pb2.FileEntry.FILE
    return api_pb2.FileEntry(path=path, type=kind, size=len(content or b""))
