package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	jsonpatch "github.com/evanphx/json-patch/v5"

	"gnomon/cloud/store"
	"gnomon/cloud/twin"
	"gnomon/schema"
	"gnomon/shadow"
)

const jsonPatchType = "application/json-patch+json"

// maxOperations bounds a JSON Patch: while it is applied, other changes of its
// thing wait.
const maxOperations = 256

// sectionEdit makes a new desired section of an old one.
type sectionEdit func(old *shadow.Value) (*shadow.Value, error)

// jsonPatchOf reads a JSON Patch (RFC 6902). A null that it puts somewhere
// removes what is there, as nulls in shadows do.
func (s *Server) jsonPatchOf(key store.Key, body []byte) (sectionEdit, error) {
	if err := checkOperations(body); err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return nil, newProblem(http.StatusBadRequest, "the body is no JSON Patch: "+err.Error())
	}
	options := jsonpatch.NewApplyOptions()
	options.SupportNegativeIndices = false // RFC 6901 has none
	options.AccumulatedCopySizeLimit = int64(s.cfg.Limits.BodyBytes)
	return func(old *shadow.Value) (*shadow.Value, error) {
		text := []byte("{}")
		if old != nil {
			text = old.AppendJSON(nil)
		}
		text, err := patch.ApplyWithOptions(text, options)
		if err != nil {
			return nil, patchProblem(err)
		}
		return s.patched(key, text)
	}, nil
}

// patched reads what a patch has made.
func (s *Server) patched(key store.Key, text []byte) (*shadow.Value, error) {
	v, err := shadow.Parse(text, s.cfg.Limits)
	if err != nil {
		return nil, err
	}
	if v.Kind() != shadow.Object {
		return nil, newProblem(http.StatusBadRequest, "the patch makes something else than an object of what is desired")
	}
	if kind, _ := schema.KindOf(key.Shadow); kind == schema.KindNode && v.Get(schema.NodeMember).Kind() != shadow.Object {
		return nil, newProblem(http.StatusBadRequest, `the patch takes away the member "node", without which it is no node`)
	}
	return v, nil
}

// patchProblem tells a patch that doesn't fit what is there, which may fit after
// another change, from one that never will.
func patchProblem(err error) error {
	var tooMuch *jsonpatch.AccumulatedCopySizeError
	switch {
	case errors.As(err, &tooMuch):
		return newProblem(http.StatusRequestEntityTooLarge, "the patch copies too much: "+err.Error())
	case errors.Is(err, jsonpatch.ErrTestFailed):
		return newProblem(http.StatusConflict, "a test of the patch has failed; nothing is changed: "+err.Error())
	}
	return newProblem(http.StatusConflict, "the patch does not fit what is desired; nothing is changed: "+err.Error())
}

// checkOperations says precisely what is wrong with a patch.
func checkOperations(body []byte) error {
	var ops []map[string]json.RawMessage
	if err := json.Unmarshal(body, &ops); err != nil {
		return newProblem(http.StatusBadRequest, "a JSON Patch is an array of operations: "+err.Error())
	}
	if len(ops) > maxOperations {
		return newProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("a patch has at most %d operations", maxOperations))
	}
	p := newProblem(http.StatusBadRequest, "the patch is refused")
	for i, op := range ops {
		if path, message := checkOperation(op); message != "" && len(p.Errors) < schema.MaxProblems {
			p.Errors = append(p.Errors, ProblemDetail{Path: fmt.Sprintf("%d.%s", i, path), Message: message})
		}
	}
	if len(p.Errors) > 0 {
		return p
	}
	return nil
}

// jsonPatchSchema describes a JSON Patch. Each server has its own: huma writes into it.
func jsonPatchSchema() *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeArray, Description: "operations on what is desired (RFC 6902)",
		Items: &huma.Schema{Type: huma.TypeObject, Required: []string{"op", "path"}, Properties: map[string]*huma.Schema{
			"op":    {Type: huma.TypeString, Enum: []any{"add", "remove", "replace", "move", "copy", "test"}},
			"path":  {Type: huma.TypeString, Format: "json-pointer"},
			"from":  {Type: huma.TypeString, Format: "json-pointer"},
			"value": {},
		}},
	}
}

// needs lists the operations and what they have besides op and path.
var needs = map[string]string{"add": "value", "remove": "", "replace": "value", "move": "from", "copy": "from", "test": "value"}

func checkOperation(op map[string]json.RawMessage) (path, message string) {
	var name string
	more, known := "", false
	if json.Unmarshal(op["op"], &name) == nil {
		more, known = needs[name]
	}
	switch {
	case !known:
		return "op", "must be add, remove, replace, move, copy or test"
	case !isPointer(op["path"]):
		return "path", "must be a JSON pointer, such as /run/env/ZONE"
	case more == "from" && !isPointer(op["from"]):
		return "from", "must be a JSON pointer, such as /run/env/ZONE"
	case more == "value" && op["value"] == nil:
		return "value", "is missing"
	}
	return "", ""
}

func isPointer(raw json.RawMessage) bool {
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return false
	}
	parts := strings.Split(*s, "/")
	escaped := func(part string) bool { // a tilde is followed by 0 or 1
		return strings.Count(part, "~") == strings.Count(part, "~0")+strings.Count(part, "~1")
	}
	return parts[0] == "" && !slices.ContainsFunc(parts, func(part string) bool { return !escaped(part) })
}

// patchJSON applies a JSON Patch to the desired section of what exists.
func (s *Server) patchJSON(ctx context.Context, key store.Key, in MatchInput, body []byte) (*resourceOutput, error) {
	expect, err := parseETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	edit, err := s.jsonPatchOf(key, body)
	if err != nil {
		return nil, err
	}
	if _, err := s.get(ctx, key); err != nil {
		return nil, err
	}
	if in.DryRun != "" {
		return s.dryRun(ctx, key, expect, func(d *shadow.Document) (*shadow.Update, error) {
			wanted, err := edit(d.Desired)
			return &shadow.Update{Desired: shadow.Section{Present: true, Patch: wanted, Replace: true}}, err
		})
	}
	d, err := s.cfg.Shadows.EditDesired(ctx, s.principal(ctx), key, twin.Edit{Change: edit, Expect: expect})
	if err != nil {
		return nil, problem(err, expect != nil)
	}
	return output(key, d), nil
}
