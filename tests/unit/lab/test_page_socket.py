"""Which message asks for an execution, and of which cell."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1

from dure_lab.page_socket import execution

HEADER = {"msg_id": "1", "msg_type": "execute_request"}
CONTENT = {"code": "x", "silent": False}


@pytest.mark.parametrize(
    ("header", "metadata", "content", "expected"),
    [
        (HEADER, {"cellId": "c"}, CONTENT, ("1", "c", "x")),
        (HEADER, {}, CONTENT, None),
        (HEADER, {"cellId": "c"}, CONTENT | {"silent": True}, None),
        ({"msg_id": "1", "msg_type": "execute_requests"}, {"cellId": "c"}, CONTENT, None),
        ({"msg_type": "execute_request"}, {"cellId": "c"}, CONTENT, None),
        (HEADER, [], CONTENT, None),
        (HEADER, {"cellId": 1}, CONTENT, None),
    ],
)
def test_an_execution_is_known_in_both_forms_of_messages(
    header: Any, metadata: Any, content: Any, expected: Any
) -> None:
    message = {"header": header, "parent_header": {}, "metadata": metadata, "content": content}
    assert execution(json.dumps(message), packed=False) == expected
    packed: bytes = serialize_msg_to_ws_v1(  # type: ignore[no-untyped-call]
        message, "shell", lambda part: json.dumps(part).encode()
    )
    assert execution(packed, packed=True) == expected
    assert execution(packed, packed=False) is None, "an older page's buffers"


@pytest.mark.parametrize("message", ["execute_request", '["execute_request"]', b"execute_request", b"", "{}"])
def test_what_is_no_message_is_left_to_jupyter(message: str | bytes) -> None:
    assert execution(message, packed=False) is None
