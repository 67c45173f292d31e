package wire_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"gnomon/shadow"
	"gnomon/shadow/wire"
)

func TestRejection(t *testing.T) {
	for _, c := range []struct {
		err     error
		code    int
		message string
		name    string
	}{
		{&shadow.InvalidError{Message: "Missing required node: state"}, 400, "Missing required node: state", "InvalidRequestException"},
		{&shadow.InvalidError{Message: "Invalid JSON", Detail: "at byte 3"}, 400, "Invalid JSON", "InvalidRequestException"},
		{&shadow.LimitError{Field: "depth", Limit: 8, Got: 9}, 400, "JSON contains too many levels of nesting; maximum is 8", "InvalidRequestException"},
		{&shadow.LimitError{Field: "state", Limit: 8192, Got: 8193}, 413, "The payload exceeds the maximum size allowed", "RequestEntityTooLargeException"},
		{&shadow.LimitError{Field: "body", Limit: 10, Got: 11}, 413, "The payload exceeds the maximum size allowed", "RequestEntityTooLargeException"},
		{shadow.ErrEncoding, 415, "Unsupported documented encoding; supported encoding is UTF-8", "UnsupportedDocumentEncodingException"},
		{wire.ErrThrottled, 429, "Too many requests", "ThrottlingException"},
		{shadow.ErrVersionConflict, 409, "Version conflict", "ConflictException"},
		{shadow.ErrStaleReport, 409, "Stale report", "ConflictException"},
		{shadow.ErrNotFound, 404, "No shadow exists", "ResourceNotFoundException"},
		{wire.NotFound("T", "N"), 404, "No shadow exists with name: 'N'", "ResourceNotFoundException"},
		{wire.NotFound("T", ""), 404, "No shadow exists with name: 'T'", "ResourceNotFoundException"},
		{&wire.Error{Code: 401, Message: "who?"}, 401, "who?", "UnauthorizedException"},
		{&wire.Error{Code: 403, Message: "no"}, 403, "no", "ForbiddenException"},
		{&wire.Error{Code: 405, Message: "PUT"}, 405, "PUT", "MethodNotAllowedException"},
		{&wire.Error{Code: 415, Message: "latin-1"}, 415, "latin-1", "UnsupportedDocumentEncodingException"},
		{&wire.Error{Code: 429, Message: "slow down"}, 429, "slow down", "ThrottlingException"},
		{&wire.Error{Code: 503, Message: "later"}, 503, "later", "ServiceUnavailableException"},
		{context.Canceled, 503, "Service unavailable; try again", "ServiceUnavailableException"},
		{context.DeadlineExceeded, 503, "Service unavailable; try again", "ServiceUnavailableException"},
		{shadow.ErrCorrupt, 500, "Internal service failure", "InternalFailureException"},
		{errors.New("open /var/lib/secret"), 500, "Internal service failure", "InternalFailureException"},
	} {
		for _, err := range []error{c.err, fmt.Errorf("update thing T: %w", c.err)} {
			code, message := wire.Rejection(err)
			if code != c.code || message != c.message || wire.ErrorName(code) != c.name {
				t.Errorf("Rejection(%v) = %d %s %s, want %d %s %s", err, code, wire.ErrorName(code), message, c.code, c.name, c.message)
			}
		}
	}
	if !errors.Is(wire.NotFound("T", "N"), shadow.ErrNotFound) {
		t.Error("NotFound is no shadow.ErrNotFound")
	}
}

func TestClientToken(t *testing.T) {
	for body, want := range map[string]string{
		`{"clientToken":"a"}`: "a",
		` { "x" : [1,{"clientToken":"no"}] , "clientToken" : "b" }`:                                    "b",
		`{"clientToken":"a","clientToken":"b"}`:                                                        "b",
		`{"client\u0054oken":"\u00e9\""}`:                                                              `é"`,
		`{"clientToken":"c","state":{"a":`:                                                             "c", // cut off
		`{"clientToken":"c" oops`:                                                                      "c",
		`{"state":{"a":"}{\"],","b":[[]]},"clientToken":"d"}`:                                          "d",
		`{"state":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `,"clientToken":"deep"}`: "deep",
		`{"clientToken":"` + strings.Repeat("x", 64) + `"}`:                                            strings.Repeat("x", 64),
		`{"clientToken":"` + strings.Repeat("x", 65) + `"}`:                                            "",
		`{"clientToken":"` + strings.Repeat("x", 9999) + `"}`:                                          "",
		`{"clientToken":"a","clientToken":5}`:                                                          "",
		`{"clientToken":["a"]}`:                                                                        "",
		`{"clientToken":"\ud800"}`:                                                                     "",
		"{\"clientToken\":\"\xff\"}":                                                                   "",
		`{"state":{"clientToken":"inner"}}`:                                                            "",
		`["clientToken","a"]`:                                                                          "",
		`{"clientToken"`:                                                                               "",
		`{"clientToken":"a`:                                                                            "",
		`{`:                                                                                            "",
		``:                                                                                             "",
		`null`:                                                                                         "",
		`{"a":1]]]],"clientToken":"e"}`:                                                                "",
	} {
		if got := wire.ClientToken([]byte(body)); got != want {
			t.Errorf("ClientToken(%.60s) = %q, want %q", body, got, want)
		}
	}
}

// FuzzClientToken: whatever the body, what comes back must be fit to be sent;
// and for a body that is accepted, it is the token of the accepted answer.
func FuzzClientToken(f *testing.F) {
	for _, seed := range []string{`{"state":{},"clientToken":"a"}`, `{"a":"\\\"","clientToken":"\u00e9"}`, `{"clientToken":["x"}`, `{"a":{"b":[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		token := wire.ClientToken(body)
		if len(token) > 64 || strings.ToValidUTF8(token, "") != token {
			t.Fatalf("token %q", token)
		}
		if r, err := shadow.ParseRequest(body, shadow.DefaultLimits); err == nil && r.ClientToken != token {
			t.Fatalf("%q has the token %q, not %q", body, r.ClientToken, token)
		}
	})
}
