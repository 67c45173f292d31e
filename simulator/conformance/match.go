package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// clockSkew is how far the clock of the service under test may be off.
const clockSkew = 10 * time.Minute

// read decodes JSON, keeping numbers as they are written, and makes every
// timestamp 0 that is one: a whole number of seconds, and about now.
func read(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("no JSON: %w", err)
	}
	if dec.More() {
		return nil, fmt.Errorf("text after the JSON")
	}
	return v, settle(v)
}

func settle(v any) error {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if err := settle(e); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, e := range v {
			n, isNumber := e.(json.Number)
			if key != "timestamp" || !isNumber {
				if err := settle(e); err != nil {
					return err
				}
				continue
			}
			s, err := n.Int64()
			if err != nil || s != 0 && time.Since(time.Unix(s, 0)).Abs() > clockSkew {
				return fmt.Errorf("timestamp %s is no second of about now", n)
			}
			v[key] = json.Number("0")
		}
	}
	return nil
}

// same tells what is wrong with a message, nil when it is what is wanted.
func same(got []byte, want string) error {
	g, err := read(got)
	if err != nil {
		return fmt.Errorf("%w: %s", err, got)
	}
	w, err := read([]byte(want))
	if err != nil {
		return fmt.Errorf("the case itself is wrong: %w: %s", err, want)
	}
	if !reflect.DeepEqual(g, w) {
		return fmt.Errorf("got  %s\nwant %s", got, want)
	}
	return nil
}

// versionOf returns the version in a message, "" when there is none.
func versionOf(message []byte) string {
	var m struct {
		Version json.Number
		Current struct{ Version json.Number }
	}
	if json.Unmarshal(message, &m) != nil {
		return ""
	}
	return m.Version.String() + m.Current.Version.String()
}

// rejection checks the shape of an error and returns its message and token.
func rejection(a answer, tr Transport) (message, token string, err error) {
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		return "", "", fmt.Errorf("no JSON object: %w: %s", err, a.body)
	}
	allowed := "message detail"
	if tr != HTTP {
		allowed += " code timestamp clientToken"
		if code, ok := m["code"].(float64); !ok || int(code) != a.code {
			return "", "", fmt.Errorf("code is not the number %d: %s", a.code, a.body)
		}
		if _, err := read(a.body); err != nil || m["timestamp"] == nil {
			return "", "", fmt.Errorf("timestamp (%w): %s", err, a.body)
		}
	} else if want := exceptions[a.code]; a.kind != want {
		return "", "", fmt.Errorf("x-amzn-ErrorType %q, want %q", a.kind, want)
	}
	for key := range m {
		if !strings.Contains(" "+allowed+" ", " "+key+" ") {
			return "", "", fmt.Errorf("a member %q, which the contract doesn't have: %s", key, a.body)
		}
	}
	message, _ = m["message"].(string)
	token, _ = m["clientToken"].(string)
	return message, token, nil
}

// exceptions are the contract's names of the codes.
var exceptions = map[int]string{
	400: "InvalidRequestException", 401: "UnauthorizedException", 403: "ForbiddenException",
	404: "ResourceNotFoundException", 405: "MethodNotAllowedException", 409: "ConflictException",
	413: "RequestEntityTooLargeException", 415: "UnsupportedDocumentEncodingException",
	429: "ThrottlingException", 500: "InternalFailureException", 503: "ServiceUnavailableException",
}
