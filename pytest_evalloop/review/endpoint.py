"""One OpenAI-compatible endpoint: asked with bounded patience, and held to the model that was asked for."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from pytest_evalloop.review.wording import AnswerError, excerpt

OWN = frozenset({"messages", "model", "n", "response_format", "stream", "tools"})
"""What of a request is not the user's to set."""

_REMEDIES = {
    401: "Check the key.",
    403: "Check what the key may do.",
    404: "Check base_url and model.",
    429: "Wait, or ask for a higher limit.",
}


class EndpointError(Exception):
    """An endpoint that gave no answer; the message says what it did instead, and what to do."""


def is_local(base_url: str) -> bool:
    """Tell whether an endpoint is on this machine or in a private network."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Endpoint:
    """An open connection to an endpoint; may be used from several threads."""

    def __init__(self, base_url: str, key: str, *, timeout: float, retries: int) -> None:
        try:
            import openai
        except ImportError as error:
            raise EndpointError(
                'the openai client is not installed. Run: pip install "pytest-evalloop[llm]"'
            ) from error
        self._base_url, self._timeout, self._retries = base_url, timeout, retries
        self._client = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=retries)

    def ask(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        response_format: object,
        extra: Mapping[str, object],
    ) -> str:
        """Return what the model says, `extra` being further fields of the request.

        Each try has `timeout` seconds; what timed out or may pass (408, 409, 429, 5xx) is tried again. Raises
        `EndpointError` when no answer came, or one by another model, and `AnswerError` when it is no whole text.
        """
        import msgspec
        import openai

        request: Any = {"model": model, "messages": messages, "response_format": response_format}
        try:
            raw = self._client.chat.completions.with_raw_response.create(**request, extra_body=extra)
            content = raw.content
        except openai.OpenAIError as error:
            raise EndpointError(self._reason(error)) from error
        try:
            completion = msgspec.json.decode(content, type=dict[str, Any])
            choice = completion["choices"][0]
            message, by, finish = choice["message"], completion["model"], choice.get("finish_reason")
            text, refusal = message.get("content"), message.get("refusal")
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError, AttributeError):
            raise EndpointError(
                f"{self._base_url} answered with something other than a chat completion: "
                f"{excerpt(content.decode('utf-8', 'replace'))}. Check base_url."
            ) from None
        if by != model:
            raise EndpointError(
                f"{self._base_url} was asked for the model {model!r} and answered with {by!r}. A verdict by another "
                "model was not validated, so it does not count. Name the snapshot that the endpoint really serves."
            )
        if refusal:
            raise AnswerError(f"it refused: {excerpt(str(refusal))}")
        if finish == "length":
            raise AnswerError("its answer was cut off. Allow more tokens in [parameters]")
        if not isinstance(text, str) or not text.strip():
            raise AnswerError("its answer is empty")
        return text

    def _reason(self, error: Exception) -> str:
        import openai

        tries = f"{self._retries + 1} tries" if self._retries else "1 try"
        if isinstance(error, openai.APITimeoutError):
            return (
                f"{self._base_url} gave no answer within {self._timeout:g} s, in {tries}. "
                "Raise timeout, or try again later."
            )
        if isinstance(error, openai.APIStatusError):
            code = error.status_code
            remedy = "Try again later." if code >= 500 else _REMEDIES.get(code, "Check [parameters].")
            return f"{self._base_url} answered with status {code}: {excerpt(error.response.text)}. {remedy}"
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            return f"{self._base_url} cannot be reached, in {tries} ({cause}). Start it, or correct base_url."
        return f"{self._base_url} gave no answer: {excerpt(str(error))}."

    def close(self) -> None:
        """Close the connection; harmless when it was closed before."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
