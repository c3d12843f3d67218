"""What an execution has put out, as a notebook file has it; and whose it is while pages come and go."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from dure_lab.executions import OfKernel
from dure_lab.outputs import CUT, EACH, Outputs
from dure_lab.stream_text import StreamText

Message = tuple[str, Mapping[str, Any]]


def give(outputs: Outputs, message: Message) -> None:
    """As the kernel's messages come."""
    kind, content = message
    outputs.take(kind, lambda: content, len(json.dumps(content)))


def printed(text: str, name: str = "stdout") -> Message:
    return "stream", {"name": name, "text": text}


def shown(text: str, display: str | None = None, kind: str = "display_data") -> Message:
    transient = {} if display is None else {"display_id": display}
    return kind, {"data": {"text/plain": text}, "metadata": {}, "transient": transient}


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def display(text: str) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}


CLEAR: Message = ("clear_output", {"wait": False})
CLEAR_LATER: Message = ("clear_output", {"wait": True})
ERROR = {"ename": "E", "evalue": "v", "traceback": ["t"]}
RESULT = {"data": {"text/plain": "7"}, "metadata": {}, "execution_count": 3}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], []),
        ([printed("a"), printed("b\n"), printed("c", "stderr")], [stream("ab\n"), stream("c", "stderr")]),
        ([printed("10%\r"), printed("20%\r"), printed("30%\n40%")], [stream("30%\n40%")]),
        ([printed("abc\rX\n"), printed("win\r\n"), printed("z\r")], [stream("Xbc\nwin\nz\r")]),
        ([printed("abc\r"), printed("X"), printed("Y")], [stream("XYc")]),
        ([printed("win\r"), printed("\nabcd\rXY\rZ")], [stream("win\nZYcd")]),
        ([shown("a"), shown("b")], [display("a"), display("b")]),
        ([printed("a"), CLEAR, printed("b")], [stream("b")]),
        ([printed("a"), CLEAR], []),
        ([printed("a"), CLEAR_LATER], [stream("a")]),
        ([printed("a"), CLEAR_LATER, shown("b")], [display("b")]),
        ([shown("a", "1"), printed("p"), shown("b", "1", "update_display_data")], [display("b"), stream("p")]),
        ([shown("a"), shown("b", None, "update_display_data")], [display("a")]),
        ([("error", ERROR)], [{"output_type": "error", **ERROR}]),
        ([("execute_result", RESULT)], [{"output_type": "execute_result", **RESULT}]),
        ([("comm_open", {"comm_id": "c"}), ("status", {"execution_state": "busy"})], []),
    ],
)
def test_messages_become_what_a_file_has(messages: Sequence[Message], expected: Any) -> None:
    outputs = Outputs()
    for message in messages:
        give(outputs, message)
    assert outputs.in_file() == expected


def test_a_page_that_goes_on_is_told_the_names_of_displays() -> None:
    outputs = Outputs()
    give(outputs, shown("a", "1"))
    assert outputs.on_wire() == [{**display("a"), "transient": {"display_id": "1"}}]


def test_a_page_that_goes_on_writes_over_a_line_from_where_the_kernel_is() -> None:
    outputs = Outputs()
    give(outputs, printed("50%|###\r60"))
    assert outputs.in_file() == [stream("60%|###")]
    assert outputs.on_wire() == [stream("60%|###\r60")]


def test_the_number_and_the_end_are_known() -> None:
    outputs = Outputs()
    assert (outputs.count, outputs.begun, outputs.ended) == (None, False, False)
    give(outputs, ("status", {"execution_state": "busy"}))
    give(outputs, ("execute_input", {"execution_count": 4}))
    assert (outputs.count, outputs.begun, outputs.ended) == (4, True, False)
    give(outputs, ("status", {"execution_state": "idle"}))
    assert outputs.ended


@pytest.mark.parametrize("language", ["en", "ko"])
def test_beyond_the_bound_there_is_a_sentence_and_nothing_more(language: str) -> None:
    outputs = Outputs(language, largest=EACH + 10)
    for text in ("12345", "6789", "too much", "1"):
        give(outputs, printed(text))
    assert outputs.in_file() == [stream("123456789"), stream(CUT[language], "stderr")]
    assert outputs.size <= outputs.largest
    give(outputs, CLEAR)
    give(outputs, printed("again"))
    assert outputs.in_file() == [stream("again")]


@pytest.mark.parametrize("kind", ["display_data", "execute_result", "update_display_data", "stream", "error"])
def test_what_is_too_large_is_not_even_unpacked(kind: str) -> None:
    outputs = Outputs()
    give(outputs, shown("a", "1"))
    outputs.take(kind, lambda: pytest.fail("it was unpacked"), 16_000_000)
    outputs.take("stream", lambda: pytest.fail("it was unpacked"), 10)  # nothing comes after the sentence
    assert outputs.in_file() == [display("a"), stream(CUT["en"], "stderr")]


def test_many_small_outputs_count_for_more_than_they_show() -> None:
    outputs = Outputs(largest=1000)
    for number in range(50):
        give(outputs, printed("x", ("stdout", "stderr")[number % 2]))
    assert len(outputs.in_file()) == 10


@pytest.mark.parametrize(
    ("piece", "times"),
    [("12345678\n", 50_000), ("x", 300_000), ("\r 50%|#####     | 50/100", 50_000), ("12345\r\n", 50_000)],
)
def test_a_message_costs_what_it_brings_however_much_is_there(piece: str, times: int) -> None:
    text = StreamText()
    for _ in range(times):
        text.add(piece)
    shown = text.text(goes_on=False)
    assert text.work <= 5 * len(piece) * times
    assert text.size <= len(piece) * times
    assert shown == (piece.strip("\r") if piece[0] == "\r" else piece.replace("\r", "") * times)


def test_a_bar_that_is_drawn_again_and_again_takes_the_room_of_one() -> None:
    outputs = Outputs()
    for number in range(100_000):
        give(outputs, printed(f"\r{number:6} of 100000 |{'#' * (number // 2000):50}|"))
    ((found),) = outputs.in_file()
    assert found["text"].startswith(" 99999 of")
    assert "\r" not in found["text"]
    assert not outputs.cut
    assert outputs.size < 20_000


BUSY: Message = ("status", {"execution_state": "busy"})
IDLE: Message = ("status", {"execution_state": "idle"})


def put_out(kernel: OfKernel, asked: str, *messages: Message) -> None:
    for number, (kind, content) in enumerate(messages):
        name, date = f"{asked}-{number}", f"2026-01-01T00:00:0{number}Z"
        kernel.take(asked, kind, name, date, lambda content=content: content, len(json.dumps(content)))  # type: ignore[misc]


def kernel_with(*sessions: str, largest: int = 1000) -> OfKernel:
    kernel = OfKernel(largest=largest)
    for session in sessions:
        kernel.connected(session)
    return kernel


def names(executions: Sequence[Any]) -> list[str]:
    return [one.asked for one in executions]


def test_a_page_that_is_there_has_it_itself() -> None:
    kernel = kernel_with("a")
    kernel.ask("1", "a", "cell", "code")
    put_out(kernel, "1", BUSY, printed("x"), IDLE)
    assert not kernel.holds("1")


def test_what_ends_after_its_page_left_is_written_once_nobody_is_there() -> None:
    kernel = kernel_with("a", "b")
    kernel.ask("1", "a", "cell", "code")
    kernel.disconnected("a", left=True)
    put_out(kernel, "1", BUSY, printed("x"))
    assert kernel.to_write(False, False) == []
    assert kernel.to_write(True, False) == [], "another page is there"
    kernel.disconnected("b", left=True)
    assert names(kernel.to_write(True, False)) == ["1"]
    put_out(kernel, "1", IDLE)
    found = kernel.to_write(False, False)
    assert names(found) == ["1"]
    kernel.forget(found)
    assert not kernel.holds("1")


def test_a_page_that_broke_off_comes_back_to_what_jupyter_kept_for_it() -> None:
    kernel = kernel_with("a")
    kernel.ask("1", "a", "cell", "code")
    kernel.disconnected("a", left=False)
    put_out(kernel, "1", BUSY, printed("x"), IDLE)
    assert kernel.to_write(True, False) == [], "it would find its file changed"
    assert names(kernel.to_write(False, True)) == ["1"], "the server ends"
    kernel.connected("a")
    assert not kernel.holds("1")


def test_the_next_page_takes_over_what_is_in_its_notebook_and_only_once() -> None:
    kernel = kernel_with("a")
    kernel.ask("1", "a", "cell", "code")
    kernel.ask("2", "a", "elsewhere", "code")
    put_out(kernel, "1", BUSY, printed("x"))
    assert kernel.hand_over("b", {"cell": None}) == [], "it is not connected"
    kernel.connected("b")
    assert kernel.hand_over("b", {"cell": None}) == [], "the one who asked is still there"
    kernel.disconnected("a", left=True)
    (found,) = kernel.hand_over("b", {"cell": None})
    told = found.on_wire()
    assert (told["id"], told["outputs"], told["ended"]) == ("1", [stream("x")], False)
    assert told["seen"] == ["1-0", "1-1"]
    assert kernel.hand_over("b", {"cell": None}) == []
    put_out(kernel, "1", IDLE)
    assert not kernel.holds("1"), "the new page has it"
    assert kernel.holds("2")


def test_a_page_that_took_over_and_left_is_followed_by_another() -> None:
    kernel = kernel_with("a", "b")
    kernel.ask("1", "a", "cell", "code")
    kernel.disconnected("a", left=True)
    kernel.hand_over("b", {"cell": None})
    put_out(kernel, "1", BUSY, printed("x"))
    kernel.disconnected("b", left=True)
    kernel.connected("c")
    assert names(kernel.hand_over("c", {"cell": None})) == ["1"]


def test_a_page_that_jupyter_gave_nothing_is_given_its_own_once() -> None:
    """Jupyter keeps messages only for who was connected last: here for a console."""
    kernel = kernel_with("a", "console")
    kernel.ask("1", "a", "cell", "code")
    kernel.ask("2", "a", "goes on", "code")
    kernel.disconnected("a", left=False)
    put_out(kernel, "1", BUSY, printed("x"), IDLE)
    put_out(kernel, "2", BUSY)
    kernel.connected("a", replayed=False)
    cells = {"cell": None, "goes on": None}
    (found,) = kernel.hand_over("a", cells)
    told = found.on_wire()
    assert (told["id"], told["outputs"], told["ended"], told["missed"]) == ("1", [stream("x")], True, True)
    assert kernel.hand_over("a", cells) == []
    assert kernel.holds("2")
    assert not kernel.holds("1")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"new": "code"}, "new"),
        ({"new": "code", "other": "other"}, "new"),
        ({"new": "code", "same": "code"}, None),
        ({"new": "changed"}, None),
        ({"new": None}, None),
        ({"old": "code", "new": "code"}, "old"),
    ],
)
def test_where_a_file_keeps_no_ids_the_only_cell_with_the_source_has_it(
    cells: Mapping[str, str | None], expected: str | None
) -> None:
    kernel = kernel_with("a", "b")
    kernel.ask("1", "a", "old", "code")
    put_out(kernel, "1", BUSY)
    kernel.disconnected("a", left=True)
    assert [one.cell for one in kernel.hand_over("b", cells)] == ([] if expected is None else [expected])
    kernel.ask("2", "b", "new", "code")
    assert kernel.holds("1") == (expected != "new"), "the cell that has it is executed anew"


def test_a_page_that_closes_its_line_because_its_kernel_has_ended_has_all_there_is() -> None:
    kernel = kernel_with("a", "b")
    kernel.ask("1", "a", "cell", "code")
    kernel.ask("2", "b", "other", "code")
    put_out(kernel, "1", BUSY, printed("x"))
    put_out(kernel, "2", BUSY, printed("y"))
    kernel.disconnected("b", left=True)
    kernel.disconnected("a", left=True, kernel_ended=True)
    kernel.cut_off()
    assert names(kernel.to_write(True, True)) == ["2"], "the other had left before"


def test_only_the_last_that_a_cell_asked_for_counts() -> None:
    kernel = kernel_with("a")
    kernel.ask("1", "a", "cell", "code")
    kernel.ask("2", "a", "cell", "code")
    assert (kernel.holds("1"), kernel.holds("2")) == (False, True)


def test_a_kernel_that_ends_leaves_what_there_is() -> None:
    kernel = kernel_with("a")
    kernel.ask("1", "a", "cell", "code")
    kernel.ask("2", "a", "queued", "code")
    put_out(kernel, "1", BUSY, printed("x"))
    kernel.disconnected("a", left=True)
    kernel.cut_off()
    assert names(kernel.to_write(False, False)) == ["1"]
    assert not kernel.holds("2"), "it never began"


def test_a_display_of_another_cell_may_be_updated() -> None:
    kernel = kernel_with("a")
    kernel.ask("1", "a", "cell", "code")
    kernel.ask("2", "a", "other", "code")
    kernel.disconnected("a", left=True)
    put_out(kernel, "1", BUSY, shown("a", "d"), IDLE)
    put_out(kernel, "2", BUSY, shown("b", "d", "update_display_data"))
    (first, _) = kernel.to_write(True, False)
    assert first.outputs.in_file() == [display("b")]


def test_one_kernel_keeps_no_more_than_its_bound() -> None:
    kernel = kernel_with("a", largest=EACH + 10)
    for number in "12":
        kernel.ask(number, "a", number, "code")
    kernel.disconnected("a", left=True)
    for number in "12":
        put_out(kernel, number, BUSY, printed("12345678"), printed("abcdefgh"), printed("c"), IDLE)
    kept = [one.outputs.in_file() for one in kernel.to_write(False, False)]
    assert kept == [[stream("12345678abcdefgh"), stream(CUT["en"], "stderr")], [stream(CUT["en"], "stderr")]]


def test_what_has_no_cell_in_any_file_makes_room() -> None:
    kernel = kernel_with("a", largest=EACH + 10)
    for number in "12":
        kernel.ask(number, "a", number, "code")
    kernel.disconnected("a", left=True)
    put_out(kernel, "1", BUSY, printed("12345678901"), IDLE)
    for one in kernel.to_write(False, False):
        one.written = True
    put_out(kernel, "2", BUSY, printed("abc"), IDLE)
    assert [one.outputs.in_file() for one in kernel.to_write(False, False)] == [[stream("abc")]]


def test_a_cell_that_is_executed_anew_has_the_room_of_what_it_had_before() -> None:
    kernel = kernel_with("a", largest=400)
    for asked in ("1", "2", "3"):
        kernel.ask(asked, "a", "cell", "code")
        put_out(
            kernel, asked, BUSY, shown("a", "d"), shown("abc", "d", "update_display_data"), printed("abcdefghijk")
        )
    kernel.disconnected("a", left=True)
    (found,) = kernel.to_write(True, False)
    assert found.outputs.in_file() == [display("abc"), stream("abcdefghijk")]
