"""A kernel of a student's server, spoken to over its websocket as JupyterLab does."""

import json
import struct
import time
import uuid

import websocket

SECONDS = 300  # to wait for anything; nothing is measured against it


class Kernel:
    """A running kernel, spoken to over the server's websocket."""

    def __init__(self, student, number):
        self.student, self.number, self.session = student, number, uuid.uuid4().hex
        self.widgets = {}  # number of a comm: its state
        self.connect()

    def connect(self):
        """Open a line to the kernel, in the place of the one there was."""
        where = f"user/{self.student.name}/api/kernels/{self.number}/channels"
        self.socket = websocket.create_connection(
            f"ws://127.0.0.1:{self.student.room.port}/{where}?session_id={self.session}",
            header=[f"Authorization: token {self.student.token}"],
            timeout=SECONDS,
        )

    def send(self, kind, content):
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": self.session}
        header |= {"username": self.student.name, "version": "5.3"}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps(message | {"channel": "shell"}))
        return header["msg_id"]

    def receive(self):
        """The next message. Raises TimeoutError where none comes; the server's pings are none."""
        kind, end = None, time.monotonic() + SECONDS
        while kind not in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            if time.monotonic() > end:
                raise TimeoutError(f"no message of kernel {self.number} in {SECONDS} seconds")
            kind, data = self.socket.recv_data(control_frame=True)
        if kind == websocket.ABNF.OPCODE_BINARY:  # how many buffers, where each begins, JSON first
            first, second = struct.unpack_from("!2I", data, 4)
            data = data[first:second]
        message = json.loads(data)
        if message["header"]["msg_type"] == "comm_open":
            content = message["content"]
            self.widgets[content["comm_id"]] = content["data"].get("state", {})
        return message

    def run(self, code):
        """What a cell prints. Raises CellError with its traceback."""
        number, printed, idle, replied = self.send("execute_request", {"code": code}), [], 0, None
        while not (idle and replied):
            message = self.receive()
            if message["parent_header"].get("msg_id") != number:
                continue
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "stream":
                printed.append(content["text"])
            idle = idle or (kind == "status" and content["execution_state"] == "idle")
            replied = content if kind == "execute_reply" else replied
        if replied["status"] != "ok":
            raise CellError(replied.get("ename", ""), "\n".join(replied.get("traceback", [])))
        return "".join(printed)

    def move_slider(self, values):
        """Tell the one explorer that has been shown what a browser tells it after a drag."""
        (comm,) = [number for number, state in self.widgets.items() if "values" in state]
        data = {"method": "update", "state": {"values": values}}
        self.send("comm_msg", {"comm_id": comm, "data": data})

    def state_after(self, act):
        """What the server tells of the kernel, unasked, after `act()`: restarting, dead ..."""
        act()
        while True:
            message = self.receive()
            state = message["content"].get("execution_state")
            if message["header"]["msg_type"] == "status" and state not in ("busy", "idle"):
                return state

    def close(self):
        self.socket.close()


class CellError(Exception):
    """A cell stopped: (name of the error, traceback)."""
