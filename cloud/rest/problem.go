package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Problem is an error of the native API (RFC 9457). Code is stable and meant
// for programs, Detail for people.
type Problem struct {
	Title  string          `json:"title"`
	Status int             `json:"status"`
	Code   string          `json:"code" doc:"stable, for programs"`
	Detail string          `json:"detail"`
	Errors []ProblemDetail `json:"errors,omitempty" doc:"every member that is refused"`
}

// ProblemDetail is one refused member.
type ProblemDetail struct {
	Path    string `json:"path"`
	Message string `json:"message"`
	Value   any    `json:"value,omitempty"`
	Limit   any    `json:"limit,omitempty"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// RejectionCode implements wire.Coded, for problems found while a change is worked out.
func (p *Problem) RejectionCode() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

var problemCodes = map[int]string{
	http.StatusBadRequest:            "invalid",
	http.StatusUnauthorized:          "unauthorized",
	http.StatusForbidden:             "forbidden",
	http.StatusNotFound:              "not_found",
	http.StatusMethodNotAllowed:      "method_not_allowed",
	http.StatusConflict:              "conflict",
	http.StatusGone:                  "gone",
	http.StatusPreconditionFailed:    "version_mismatch",
	http.StatusRequestEntityTooLarge: "too_large",
	http.StatusUnsupportedMediaType:  "unsupported_media_type",
	http.StatusUnprocessableEntity:   "invalid",
	http.StatusTooManyRequests:       "throttled",
	http.StatusServiceUnavailable:    "unavailable",
}

func newProblem(status int, detail string) *Problem {
	code := problemCodes[status]
	if code == "" {
		code = "internal"
	}
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// problem maps an error of the service. conditional tells whether the request
// had an If-Match, whose failure has a status of its own.
func problem(err error, conditional bool) error {
	if err == nil {
		return nil
	}
	if conditional && errors.Is(err, shadow.ErrVersionConflict) {
		return newProblem(http.StatusPreconditionFailed, "the version is not the one named in If-Match; read it again and decide anew")
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return newProblem(http.StatusServiceUnavailable, "the request ended before the change was confirmed; it may have happened")
	}
	var already *Problem
	if errors.As(err, &already) {
		return already
	}
	status, detail := wire.Rejection(err)
	if more := wire.Detail(err); more != "" {
		detail += ": " + more
	}
	p := newProblem(status, detail)
	var refused *schema.Error
	if errors.As(err, &refused) {
		for _, d := range refused.Problems {
			p.Errors = append(p.Errors, ProblemDetail(d))
		}
	}
	return p
}

// refuse answers a problem where huma doesn't.
func refuse(c echo.Context, err error) error {
	var p *Problem
	if !errors.As(err, &p) {
		return err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return c.Blob(p.Status, "application/problem+json", text)
}

// humaError makes huma's own refusals problems of ours.
func humaError(status int, message string, errs ...error) huma.StatusError {
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	p := newProblem(status, message)
	for _, err := range errs {
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			detail := d.ErrorDetail()
			p.Errors = append(p.Errors, ProblemDetail{Path: detail.Location, Message: detail.Message, Value: detail.Value})
		} else if err != nil {
			p.Errors = append(p.Errors, ProblemDetail{Message: err.Error()})
		}
	}
	return p
}

func init() { huma.NewError = humaError } // huma has no other seam for the shape of its errors
