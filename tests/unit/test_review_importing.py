"""Traces from elsewhere: every format by its content, and a place in words for all that cannot be used."""

from __future__ import annotations

import csv
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.records import Trace
from pytest_evalloop.review.importing import Imported, import_file, read_foreign
from pytest_evalloop.review.traces import Library, ReviewError, StoredTrace, append, content_id, read

NOW = 1764000000.0


def imported(tmp_path: Path, data: str | bytes, name: str = "given.txt") -> Imported:
    file = tmp_path / name
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_foreign(file, NOW)


def lines(*values: object) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def only(tmp_path: Path, data: str | bytes) -> StoredTrace:
    found = imported(tmp_path, data)
    assert found.problems == ()
    [stored] = found.traces
    return stored


def test_a_table_has_ids_inputs_outputs_and_metadata(tmp_path: Path) -> None:
    found = imported(
        tmp_path,
        'trace_id,input,output,model,empty\na,hi,"hello, ""you""",m1,\nb,"two\r\nlines",<b>\x1b[31m,m2,\n',
    )
    assert (found.kind, found.problems) == ("a table", ())
    assert [each.id for each in found.traces] == ["a", "b"]
    assert found.traces[0].trace == Trace("hi", 'hello, "you"', (), {"model": "m1"})
    assert found.traces[1].trace == Trace("two\r\nlines", "<b>\x1b[31m", (), {"model": "m2"})
    assert found.traces[0].source == "import:given.txt"
    assert NOW <= found.traces[0].recorded < found.traces[1].recorded < NOW + 1


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_excel_saves_is_read(tmp_path: Path, separator: str, encoding: str, end: str) -> None:
    rows = ["Output{0}Input{0}note, with; all", 'ä "é"{0}"a{0}b"{0}x', ""]
    stored = only(tmp_path, end.join(rows).format(separator).replace("with; all", "x").encode(encoding))
    assert (stored.trace.input, stored.trace.output) == (f"a{separator}b", 'ä "é"') or separator == ","
    assert stored.id == content_id(stored.trace)


def test_excels_word_for_the_separator_is_heeded(tmp_path: Path) -> None:
    stored = only(tmp_path, "sep=;\r\ninput;output\r\na,b;c\r\n")
    assert (stored.trace.input, stored.trace.output) == ("a,b", "c")


def test_bad_rows_are_named_by_row_and_column_and_the_good_ones_are_read(tmp_path: Path) -> None:
    found = imported(
        tmp_path,
        "trace_id,input,output,tag\n"
        "a,i,o,x\n"
        "a,other,o,x\n"
        ",i,o,x\n"
        "\n"
        "b,i,o,x,too,many\n"
        "c,i\n"
        'd,i,"o"o,x\n'
        "e,i,o\n"
        'f,i,"never closed\n',
    )
    assert [each.id for each in found.traces] == ["a", "e"]
    file = tmp_path / "given.txt"
    starts = [problem.removeprefix(f"{file}, ") for problem in found.problems]
    assert sorted(starts) == [
        "row 10 (line 10): it is no CSV (unexpected end of data), so it is left out. Look at its quotation marks.",
        "row 3: trace_id 'a' was in row 2 already, so this one is left out. Give it another id if both are meant.",
        "row 4, column trace_id: it is missing or empty, so the row is left out. Name the trace.",
        "row 6: it has 6 cells and the header 4, so it is left out. "
        "Put text with separators or line breaks into quotation marks.",
        "row 7, column output: the row ends before it, so it is left out.",
        "row 8 (line 8): it is no CSV (',' expected after '\"'), so it is left out. Look at its quotation marks.",
    ]


def test_the_same_content_twice_is_one_trace_unless_it_has_ids(tmp_path: Path) -> None:
    found = imported(tmp_path, "input,output\na,b\na,b\n")
    assert len(found.traces) == 1
    assert found.problems[0].endswith(
        "row 3: the same content was in row 2 already, so this one is left out. Give both an id if both are meant."
    )
    assert len(imported(tmp_path, "id,input,output\n1,a,b\n2,a,b\n").traces) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty. Its first row names the columns"),
        (b"\n \n", "is empty"),
        (
            b"prompt,response\na,b\n",
            "row 1: there is no column 'input' among prompt, response. Traces have the columns",
        ),
        (b"input,x\na,b\n", "there is no column 'output'"),
        (b"input,output,Input\na,b,c\n", "row 1: there are two columns 'input'"),
        (b"input,output\na,a\xe9\n", "line 2: byte 0xe9 is no UTF-8. Save the file as UTF-8; in Excel"),
        (b"\xd0\xcf\x11\xe0\xa1", "is an old Excel file"),
        (b"PK\x03\x04broken", "is no XLSX that can be read"),
        (b'{"a":1}\n', "holds no traces of a known shape. Known are tables with the columns"),
        (b'{"a":1}\n', "given.txt, line 1, its keys ('a') are neither input and output"),
        (b"[]", "holds no traces of a known shape"),
        (b"[1, 2]", "item 1, it is int where an object belongs"),
        (b"{broken", "from character 0 on it is no JSON"),
        (b'{"input":1}', "line 1, output: it is missing"),
    ],
)
def test_a_file_of_no_known_shape_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ReviewError) as caught:
        imported(tmp_path, data)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match="cannot be read: No such file"):
        read_foreign(tmp_path / "none.csv", NOW)


def test_our_own_lines_come_back_as_they_were(tmp_path: Path) -> None:
    whole = [
        StoredTrace("t-1", "loop:main/7", 1.5, Trace("i", "o\n", ({"role": "tool"},), {"k": 1})),
        StoredTrace("t-2", "eval:x", 2.5, Trace("i", "")),
    ]
    append(tmp_path / "own.jsonl", whole)
    found = read_foreign(tmp_path / "own.jsonl", NOW)
    assert found == Imported("objects with input and output", tuple(whole), ())


def test_objects_with_input_and_output_are_traces(tmp_path: Path) -> None:
    found = imported(
        tmp_path,
        lines(
            {
                "trace_id": 7,
                "input": "i",
                "output": {"a": 1},
                "model": "m",
                "created_at": "2026-11-23T10:00:00+00:00",
            },
            {
                "id": "x",
                "input": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
                "output": "o",
                "metadata": {"k": 1},
            },
        ),
    )
    assert [each.id for each in found.traces] == ["7", "x"]
    assert found.traces[0].trace.output == '{\n "a": 1\n}'
    assert found.traces[0].recorded == 1795428000.0
    assert found.traces[1].trace == Trace("u", "o", ({"role": "system", "content": "s"},), {"k": 1})


def test_bad_lines_are_named_and_the_good_ones_are_read(tmp_path: Path) -> None:
    found = imported(
        tmp_path,
        '{"input": "a", "output": "b"}\nnot json\n[1]\n{"input": "c"}\n{"input": "d", "output": null}\n\n'
        '{"input": "e", "output": "f", "steps": [1]}\n{"input": "e", "output": "f", "metadata": 1}\n'
        '{"input": "half \\ud83d", "output": "x", "n": NaN}\n{"input": "\xff"',
    )
    assert [each.trace.input for each in found.traces] == ["a", "half \\ud83d"]
    assert found.traces[1].trace.metadata == {"n": "nan"}
    places = [
        problem.removeprefix(f"{tmp_path / 'given.txt'}, ").partition(". ")[0] for problem in found.problems
    ]
    assert [place.partition(" (")[0] for place in places] == [
        "line 2: it is no JSON",
        "line 3, it is list where an object belongs",
        "line 4, output: it is missing",
        "line 5, output: it is null",
        "line 7, steps: it is no list of objects",
        "line 8, metadata: it is no object",
        "line 10: it is no JSON",
    ]


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "answer"},
    {"role": "user", "content": "second"},
]
ANSWER = {"role": "assistant", "content": "the answer"}


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [*MESSAGES, ANSWER], "model": "m"},
        {"messages": MESSAGES, "choices": [{"message": ANSWER}], "model": "m"},
        {"request": {"messages": MESSAGES}, "response": {"choices": [{"message": ANSWER}], "model": "m"}},
        {
            "request": {"body": {"messages": MESSAGES, "model": "m"}},
            "response": {"status": 200, "body": {"choices": [{"message": ANSWER}]}},
        },
        {
            "request": {"system": "Be brief.", "messages": MESSAGES[1:]},
            "response": {
                "role": "assistant",
                "content": [{"type": "text", "text": "the answer"}],
                "model": "m",
            },
        },
        {"messages": MESSAGES, "choices": [{"text": "the answer"}], "model": "m"},
    ],
    ids=["one list", "one object", "a pair", "bodies", "another service", "old completions"],
)
def test_a_chat_is_a_trace(tmp_path: Path, value: dict[str, Any]) -> None:
    for data in (lines(value), json.dumps([value], indent=2), json.dumps(value, indent=2)):
        found = imported(tmp_path, data)
        assert (found.kind, found.problems) == ("chat completions", ())
        [stored] = found.traces
        assert (stored.trace.input, stored.trace.output) == ("second", "the answer")
        assert stored.trace.steps == tuple(MESSAGES[:3])
        assert stored.trace.metadata["model"] == "m"


def test_calls_of_tools_and_images_stay_among_the_steps(tmp_path: Path) -> None:
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
    }
    result = {"role": "tool", "tool_call_id": "1", "content": "42"}
    picture = {
        "role": "user",
        "content": [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "data:x"}}],
    }
    stored = only(tmp_path, lines({"id": "c", "messages": [picture, call, result, ANSWER]}))
    assert stored.trace.input == "what?\n[image_url]"
    assert stored.trace.steps == (picture, call, result)
    asked = only(tmp_path, lines({"messages": [MESSAGES[1]], "choices": [{"message": call}]}))
    assert '"name": "f"' in asked.trace.output
    assert asked.trace.steps == (call,)


def test_a_log_of_completions_keeps_what_is_known_of_each(tmp_path: Path) -> None:
    response = {
        "id": "chatcmpl-1",
        "created": 1700000000,
        "model": "m-2026",
        "choices": [
            {"message": ANSWER, "finish_reason": "stop"},
            {"message": {"role": "assistant", "content": "b"}},
        ],
        "usage": {"total_tokens": 3},
    }
    found = imported(tmp_path, lines({"request": {"model": "m", "messages": MESSAGES}, "response": response}))
    assert [(each.id, each.trace.output) for each in found.traces] == [
        ("chatcmpl-1#1", "the answer"),
        ("chatcmpl-1#2", "b"),
    ]
    one = found.traces[0]
    assert one.recorded == 1700000000.0
    assert one.trace.metadata == {
        "model": "m-2026",
        "request.model": "m",
        "id": "chatcmpl-1",
        "created": 1700000000,
        "usage": {"total_tokens": 3},
        "finish_reason": "stop",
        "choice": 1,
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"messages": MESSAGES}, "messages: the last one is not the assistant's, so nothing was answered"),
        ({"messages": []}, "messages: the last one is not the assistant's"),
        ({"messages": ["x"]}, "messages, message 1: it is no object with a role"),
        ({"messages": MESSAGES, "choices": []}, "choices: it is empty"),
        (
            {"messages": MESSAGES, "choices": [{"x": 1}]},
            "choices, choice 1: it has neither a message nor text",
        ),
        ({"messages": 5, "choices": [{"text": ""}]}, "messages: it is int where a list belongs"),
    ],
)
def test_a_chat_without_an_answer_is_a_problem(tmp_path: Path, value: object, message: str) -> None:
    found = imported(tmp_path, lines({"input": "i", "output": "o"}, value))
    assert len(found.traces) == 1
    assert f"line 2, {message}" in found.problems[0]


def text(role: str, content: str) -> dict[str, object]:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def otlp(spans: list[dict[str, Any]]) -> dict[str, Any]:
    def value(given: object) -> dict[str, object]:
        if isinstance(given, int):
            return {"intValue": str(given)}
        if isinstance(given, list):
            return {"arrayValue": {"values": [value(each) for each in given]}}
        if isinstance(given, dict):
            return {
                "kvlistValue": {"values": [{"key": key, "value": value(each)} for key, each in given.items()]}
            }
        return {"stringValue": given}

    for span in spans:
        span["attributes"] = [{"key": key, "value": value(each)} for key, each in span["attributes"].items()]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {}, "spans": spans}]}]}


def agent(structured: bool) -> list[dict[str, Any]]:
    """An agent that asks a model, calls a tool and asks again; the outermost span holds no messages."""
    call = {
        "role": "assistant",
        "parts": [{"type": "tool_call", "id": "1", "name": "f", "arguments": {"x": 1}}],
    }
    result = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "result": "42"}]}

    def said(*messages: object) -> object:
        return list(messages) if structured else json.dumps(messages)

    def span(identity: str, parent: str, start: int, **attributes: object) -> dict[str, Any]:
        return {
            "traceId": "ab" * 16,
            "spanId": identity,
            "parentSpanId": parent,
            "name": f"span {identity}",
            "startTimeUnixNano": str(1764000000_000000000 + start * 10**9),
            "endTimeUnixNano": str(1764000000_500000000 + start * 10**9),
            "attributes": {name.replace("__", "."): value for name, value in attributes.items()},
        }

    system = said({"type": "text", "content": "Be brief."})
    return [
        span("2", "1", 1, gen_ai__system_instructions=system, gen_ai__input__messages=said(text("user", "how many?")),
             gen_ai__output__messages=said(call), gen_ai__request__model="m", gen_ai__usage__input_tokens=7),
        span("3", "1", 2, gen_ai__tool__name="f", gen_ai__tool__call__arguments='{"x":1}',
             gen_ai__tool__call__result="42"),
        span("4", "1", 3, gen_ai__system_instructions=system,
             gen_ai__input__messages=said(text("user", "how many?"), call, result),
             gen_ai__output__messages=said({**text("assistant", "42 of them"), "finish_reason": "stop"})),
        span("1", "", 0, http__route="/ask"),
    ]  # fmt: skip


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("form", ["otlp", "otlp lines", "flat", "console"])
def test_spans_of_one_trace_are_one_trace_with_steps(tmp_path: Path, structured: bool, form: str) -> None:
    spans = agent(structured)
    if form == "otlp":
        data = json.dumps(otlp(spans), indent=1)
    elif form == "otlp lines":
        data = lines(*(otlp([span]) for span in spans))
    elif form == "flat":
        data = lines(*spans)
    else:  # what the console exporter of the SDK prints: one indented object after another
        data = "\n".join(
            json.dumps(
                {
                    "name": span["name"],
                    "context": {"trace_id": "0x" + span["traceId"], "span_id": "0x" + span["spanId"]},
                    "parent_id": f"0x{span['parentSpanId']}" if span["parentSpanId"] else None,
                    "start_time": f"2025-11-24T16:00:0{int(span['startTimeUnixNano'][9])}.000000Z",
                    "end_time": f"2025-11-24T16:00:0{int(span['startTimeUnixNano'][9])}.500000Z",
                    "attributes": span["attributes"],
                },
                indent=4,
            )
            for span in spans
        )
    found = imported(tmp_path, data)
    assert (found.kind, found.problems) == ("OpenTelemetry spans", ())
    [stored] = found.traces
    assert stored.id == "ab" * 16
    assert stored.recorded == 1764000000.0
    assert (stored.trace.input, stored.trace.output) == ("how many?", "42 of them")
    assert [(step["role"], step.get("name")) for step in stored.trace.steps] == [
        ("system", None),
        ("span", "span 1"),
        ("assistant", None),
        ("tool", "f"),
        ("tool", None),
    ]
    assert stored.trace.steps[0]["content"] == "Be brief."
    assert stored.trace.steps[3]["content"] == "42"
    assert stored.trace.metadata["gen_ai.request.model"] == "m"
    assert stored.trace.metadata["gen_ai.usage.input_tokens"] == 7
    assert (stored.trace.metadata["spans"], stored.trace.metadata["seconds"]) == (4, 3.5)
    assert stored.trace.metadata.get("service.name") == ("shop" if "otlp" in form else None)


@pytest.mark.parametrize(
    "attributes",
    [
        {
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "s",
            "gen_ai.prompt.1.role": "user",
            "gen_ai.prompt.1.content": "u",
            "gen_ai.prompt.10.role": "user",
            "gen_ai.prompt.10.content": "last",
            "gen_ai.completion.0.content": "o",
        },
        {
            "gen_ai.prompt": json.dumps(
                [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "u"},
                    {"role": "user", "content": "last"},
                ]
            ),
            "gen_ai.completion": "o",
        },
    ],
)
@pytest.mark.parametrize("where", ["attributes", "top", "event"])
def test_older_conventions_are_read(tmp_path: Path, attributes: dict[str, object], where: str) -> None:
    span: dict[str, object] = {"trace_id": "t", "span_id": "s", "name": "chat", "attributes": {}}
    if where == "top":
        span |= attributes
    elif where == "attributes":
        span["attributes"] = attributes
    else:
        span["events"] = [{"name": "gen_ai.content", "attributes": attributes}]
    stored = only(tmp_path, lines(span))
    assert (stored.id, stored.trace.input, stored.trace.output) == ("t", "last", "o")
    assert stored.trace.steps == ({"role": "system", "content": "s"}, {"role": "user", "content": "u"})


def test_messages_in_events_are_read(tmp_path: Path) -> None:
    span = {
        "trace_id": "t",
        "span_id": "s",
        "attributes": {},
        "events": [
            {"name": "gen_ai.system.message", "attributes": {"content": "s"}},
            {"name": "gen_ai.user.message", "attributes": {"gen_ai.event.content": '{"content": "u"}'}},
            {"name": "gen_ai.choice", "attributes": {"message": '{"content": "o"}', "index": 0}},
        ],
    }
    stored = only(tmp_path, lines(span))
    assert (stored.trace.input, stored.trace.output) == ("u", "o")
    assert stored.trace.steps[0] == {"role": "system", "content": "s"}


def test_spans_that_cannot_be_traces_are_problems(tmp_path: Path) -> None:
    said = {"gen_ai.prompt": "i", "gen_ai.completion": "o"}
    found = imported(
        tmp_path,
        lines(
            {"trace_id": "good", "span_id": "1", "attributes": said},
            {"span_id": "1", "attributes": said},
            {"trace_id": "silent", "span_id": "1", "attributes": {"gen_ai.request.model": "m"}},
            {"resourceSpans": 5},
        ),
    )
    assert [each.id for each in found.traces] == ["good"]
    file = tmp_path / "given.txt"
    assert found.problems[0].startswith(f"{file}, line 2, traceId: it is missing")
    assert found.problems[1].startswith(f"{file}, line 4, resourceSpans: it is no list of objects")
    assert found.problems[2].startswith(f"{file}, trace silent: none of its 1 spans holds messages")


KEYS = [
    "messages",
    "choices",
    "role",
    "content",
    "input",
    "output",
    "message",
    "gen_ai.prompt",
    "gen_ai.input.messages",
    "gen_ai.prompt.0.role",
    "events",
    "name",
    "body",
    "parts",
    "key",
    "value",
    "tool_calls",
    "text",
    "type",
    "id",
    "attributes",
    "values",
    "arrayValue",
    "kvlistValue",
    "intValue",
]
SHAPES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["user", "assistant", "[{}]", "9" * 400, "2026-11-23"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)


def objects(always: str, maybe: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        dict.fromkeys(always.split(), SHAPES), optional=dict.fromkeys(maybe.split(), SHAPES)
    )


TOLD = objects("gen_ai.prompt gen_ai.output.messages", "gen_ai.input.messages gen_ai.system_instructions x")
SPANS = st.fixed_dictionaries(
    {"traceId": st.just("t") | SHAPES, "spanId": SHAPES, "attributes": TOLD | SHAPES},
    optional=dict.fromkeys(
        ("startTimeUnixNano", "end_time", "events", "status", "parent_id", "context"), SHAPES
    ),
)
WHATEVER = (
    SHAPES
    | SPANS
    | objects("messages", "choices request id created timestamp metadata")
    | objects("choices", "messages model")
    | objects("request response", "id")
    | objects("input output", "steps metadata recorded source trace_id created_at")
    | objects("resourceSpans", "")
    | st.builds(
        lambda span: {"resourceSpans": [{"resource": span, "scopeSpans": [{"spans": [span]}]}]}, SPANS
    )
)


@settings(max_examples=200)
@given(WHATEVER)
def test_no_shape_whatever_brings_the_import_down(value: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.jsonl"
        file.write_text(lines({"input": "i", "output": "o"}, value))
        traces = read_foreign(file, NOW).traces
        assert Trace("i", "o") in [stored.trace for stored in traces]
        append(Path(folder) / "traces.jsonl", traces)
        assert read(Path(folder) / "traces.jsonl") == ([*traces], [])


def test_what_is_nested_too_deep_is_a_problem(tmp_path: Path) -> None:
    for depth in (400, 700, 100_000):
        deep = '{"input": "i", "output": "o", "x": ' + "[" * depth + "]" * depth + "}"
        found = imported(tmp_path, lines({"input": "a", "output": "b"}) + deep)
        assert len(found.traces) + len(found.problems) == 2


def test_ten_thousand_traces_and_one_of_ten_megabytes(tmp_path: Path) -> None:
    file = tmp_path / "many.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trace_id", "input", "output", "model"])
        writer.writerows([n, "question " * 50, "answer " * 100, "m"] for n in range(10_000))
        writer.writerow(["big", "i", "x" * 10_000_000, "m"])
    start = time.process_time()
    found = import_file(file, tmp_path / "traces", tmp_path / "labels", NOW)
    assert time.process_time() - start < 5.0
    assert (len(found.traces), found.problems) == (10_001, ())
    library = Library.load(tmp_path / "traces", tmp_path / "labels")
    assert len(library.traces["big"].trace.output) == 10_000_000
    assert list(library.traces)[:3] == ["0", "1", "2"]


def test_importing_again_adds_what_is_new_alone(tmp_path: Path) -> None:
    file = tmp_path / "given.csv"
    file.write_text("trace_id,input,output\na,i,o\nb,i,o\n")
    places = (tmp_path / "traces", tmp_path / "labels", NOW)
    assert len(import_file(file, *places).traces) == 2
    file.write_text("trace_id,input,output\na,i,o\nb,i,changed\nc,i,o\n")
    again = import_file(file, *places)
    assert [each.id for each in again.traces] == ["c"]
    assert "trace 'b' is known with other content (import:given.csv), so it is left out." in again.problems[0]
    assert list(Library.load(*places[:2]).traces) == ["a", "b", "c"]
    assert csv.field_size_limit() == 131072
