"""Every way a request can be refused or fail, drawn as one tree; one place (`http.responses`) renders them.

SightlineError
├── InvalidRequest            400   what the caller sent is wrong; `code` says how
│   └── PictureRefused        400   (413 for too many bytes) a picture that will not be opened
├── AuthenticationFailed      401   invalid_api_key
├── PermissionDenied          403   insufficient_permissions
├── NotFound                  404   not_found, model_not_found
├── MethodNotAllowed          405   method_not_allowed
├── RequestTimeout            408   request_timeout
├── RequestTooLarge           413   request_too_large
├── UnsupportedMediaType      415   unsupported_media_type
├── RateLimited               429   rate_limit_exceeded, concurrency_limit_exceeded
├── EngineRefused             4xx   the engine's own refusal, in our shape
├── EngineError               502   engine_error
├── Unavailable               503   engine_unavailable
│   └── Overloaded            503   overloaded: sent away so that what is under way is answered in time
└── EngineTimeout             504   engine_timeout

A message says what was wrong and how to put it right. It never repeats exception texts of libraries, keys, picture bytes or
the query of a URL.
"""

from typing import ClassVar

LONGEST_RETRY_AFTER = 120.0  # seconds: no answer tells anybody to wait longer


class SightlineError(Exception):
    """A refusal or failure with its HTTP status, OpenAI error type and code.

    `retry_after` is in seconds and at most 120; `should_retry` False tells OpenAI's SDKs not to try again.
    """

    status: int = 500
    type: ClassVar[str] = "server_error"
    code: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()  # more than status and code say, as the state of a limit that refused

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code
        self.retry_after = retry_after
        self.should_retry = should_retry

    def body(self) -> dict[str, dict[str, str | None]]:
        """The `{"error": {message, type, param, code}}` object that OpenAI's clients parse."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidRequest(SightlineError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class PictureRefused(InvalidRequest):
    """A picture that is not opened; `code` is one of the picture codes of the error table."""

    code = "image_parse_error"

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message, code=code, param=param)
        if code == "image_file_too_large":
            self.status = 413


class AuthenticationFailed(SightlineError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class PermissionDenied(SightlineError):
    status = 403
    type = "permission_error"
    code = "insufficient_permissions"


class NotFound(SightlineError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class MethodNotAllowed(SightlineError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class RequestTimeout(SightlineError):
    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class RequestTooLarge(SightlineError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnsupportedMediaType(SightlineError):
    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class RateLimited(SightlineError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class EngineRefused(SightlineError):
    """The engine's own 4xx: its status and message, our shape."""

    type = "invalid_request_error"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, param=param, retry_after=retry_after)
        self.status = status


class EngineError(SightlineError):
    status = 502
    code = "engine_error"


class Unavailable(SightlineError):
    status = 503
    code = "engine_unavailable"


class Overloaded(Unavailable):
    """`reason` is one of a small closed set of words, for the metric: what there was too much of."""

    code = "overloaded"

    def __init__(self, message: str, *, reason: str, retry_after: float = 1.0) -> None:
        super().__init__(message, retry_after=retry_after)
        self.reason = reason


class EngineTimeout(SightlineError):
    status = 504
    code = "engine_timeout"
