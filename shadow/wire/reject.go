package wire

import (
	"context"
	"errors"
	"strconv"

	"gnomon/shadow"
)

// The codes of the contract.
const (
	CodeInvalidRequest   = 400
	CodeUnauthorized     = 401
	CodeForbidden        = 403
	CodeNotFound         = 404
	CodeMethodNotAllowed = 405
	CodeConflict         = 409
	CodeTooLarge         = 413
	CodeUnsupported      = 415
	CodeThrottled        = 429
	CodeInternal         = 500
	CodeUnavailable      = 503
)

// Coded is implemented by errors of other packages that know their code.
type Coded interface {
	error
	RejectionCode() int
}

// Error gives an error of another package a code and keeps its text.
type Error struct {
	Code    int
	Message string
}

func (e *Error) Error() string { return e.Message }

// RejectionCode implements Coded.
func (e *Error) RejectionCode() int { return e.Code }

// Rejection maps an error to the contract's code and message, word for word,
// since clients compare it. It is the one such mapping, for MQTT and HTTP. What
// it doesn't know is an internal failure, whose text stays inside.
func Rejection(err error) (code int, message string) {
	var invalid *shadow.InvalidError
	var limit *shadow.LimitError
	var coded Coded
	switch {
	case errors.As(err, &coded):
		return coded.RejectionCode(), coded.Error()
	case errors.Is(err, shadow.ErrEncoding):
		return CodeUnsupported, shadow.ErrEncoding.Error()
	case errors.As(err, &invalid):
		return CodeInvalidRequest, invalid.Message
	case errors.As(err, &limit):
		if limit.Field == "depth" {
			return CodeInvalidRequest, "JSON contains too many levels of nesting; maximum is " + strconv.Itoa(limit.Limit)
		}
		return CodeTooLarge, "The payload exceeds the maximum size allowed"
	case errors.Is(err, shadow.ErrVersionConflict):
		return CodeConflict, "Version conflict"
	case errors.Is(err, shadow.ErrStaleReport):
		return CodeConflict, MessageStale
	case errors.Is(err, shadow.ErrNotFound):
		return CodeNotFound, "No shadow exists"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return CodeUnavailable, "Service unavailable; try again"
	default:
		return CodeInternal, "Internal service failure"
	}
}

// Detail says what Rejection's message leaves out, which member or limit it was;
// "" when there is no more to say.
func Detail(err error) string {
	var invalid *shadow.InvalidError
	var limit *shadow.LimitError
	var coded Coded
	switch {
	case errors.As(err, &coded):
		return ""
	case errors.As(err, &invalid):
		return invalid.Detail
	case errors.As(err, &limit):
		return limit.Error()
	default:
		return ""
	}
}

// ErrThrottled refuses a request because too many of its sender are unanswered.
var ErrThrottled error = &Error{Code: CodeThrottled, Message: "Too many requests"}

// MessageStale is the message of a report refused for its origin. An agent
// tells it from a version conflict by this text.
const MessageStale = "Stale report"

// NotFound is shadow.ErrNotFound with the contract's words: the name of the
// shadow, or for a classic one that of the thing.
func NotFound(thing, shadowName string) error {
	if shadowName == "" {
		shadowName = thing
	}
	return &notFound{message: "No shadow exists with name: '" + shadowName + "'"}
}

type notFound struct{ message string }

func (e *notFound) Error() string        { return e.message }
func (e *notFound) RejectionCode() int   { return CodeNotFound }
func (e *notFound) Is(target error) bool { return target == shadow.ErrNotFound }

// ErrorName returns the exception's name of a code, as the x-amzn-ErrorType
// header carries it.
func ErrorName(code int) string {
	switch code {
	case CodeInvalidRequest:
		return "InvalidRequestException"
	case CodeUnauthorized:
		return "UnauthorizedException"
	case CodeForbidden:
		return "ForbiddenException"
	case CodeNotFound:
		return "ResourceNotFoundException"
	case CodeMethodNotAllowed:
		return "MethodNotAllowedException"
	case CodeConflict:
		return "ConflictException"
	case CodeTooLarge:
		return "RequestEntityTooLargeException"
	case CodeUnsupported:
		return "UnsupportedDocumentEncodingException"
	case CodeThrottled:
		return "ThrottlingException"
	case CodeUnavailable:
		return "ServiceUnavailableException"
	default:
		return "InternalFailureException"
	}
}

// AppendRejected appends the answer to a rejected MQTT request. Its detail, when
// there is one, is the one member that the contract doesn't have.
func AppendRejected(dst []byte, err error, now int64, token string) []byte {
	code, message := Rejection(err)
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, `,"message":`...)
	dst = shadow.AppendString(dst, message)
	dst = append(dst, `,"timestamp":`...)
	dst = strconv.AppendInt(dst, now, 10)
	if detail := Detail(err); detail != "" {
		dst = append(dst, `,"detail":`...)
		dst = shadow.AppendString(dst, detail)
	}
	return appendToken(dst, token)
}
