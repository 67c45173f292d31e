package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// decode reads one JSON object into v and refuses members that v does not know,
// so that a misspelt option is an error and never a silent default.
func decode(kind Kind, desired []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(desired))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("more than one JSON value")
	}
	return &Error{Kind: kind, Problems: []Problem{explainDecode(err)}}
}

// explainDecode turns the decoder's errors into the words of a Problem.
func explainDecode(err error) Problem {
	var typeErr *json.UnmarshalTypeError
	if errors.As(err, &typeErr) {
		path := typeErr.Field
		if path == "" {
			path = "desired"
		}
		return Problem{Path: path, Message: "must be " + jsonType(typeErr.Type.Kind().String()) + ", not " + typeErr.Value}
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if field, ok := strings.CutPrefix(text, "unknown field "); ok {
		return Problem{Path: strings.Trim(field, `"`), Message: "is no member known here; check the spelling"}
	}
	return Problem{Path: "desired", Message: text}
}

func jsonType(goKind string) string {
	switch {
	case goKind == "struct" || goKind == "map":
		return "an object"
	case goKind == "slice":
		return "an array"
	case strings.HasPrefix(goKind, "int"), strings.HasPrefix(goKind, "uint"), strings.HasPrefix(goKind, "float"):
		return "a number in range"
	case goKind == "bool":
		return "true or false"
	default:
		return "a string"
	}
}
