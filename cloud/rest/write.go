package rest

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"

	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
)

// desiredOf reads a body that is a desired section, or a patch of one.
func (s *Server) desiredOf(key store.Key, body []byte) (*shadow.Value, error) {
	if _, err := shadow.Parse(body, s.cfg.Limits); err != nil { // on its own, before it stands within something
		return nil, problem(err, false)
	}
	u, err := shadow.ParseUpdate(slices.Concat([]byte(`{"state":{"desired":`), body, []byte(`}}`)), s.cfg.Limits)
	if err != nil {
		return nil, problem(err, false)
	}
	if u.Desired.Patch == nil {
		return nil, newProblem(http.StatusBadRequest, "the body must be a JSON object: what is desired")
	}
	if kind, _ := schema.KindOf(key.Shadow); kind == schema.KindNode && u.Desired.Patch.Get(schema.NodeMember) == nil {
		p := newProblem(http.StatusBadRequest, `what is desired of a node has the member "node"`)
		p.Errors = []ProblemDetail{{Path: schema.NodeMember, Message: "is missing"}}
		return nil, p
	}
	return u.Desired.Patch, nil
}

// put makes the body the desired section.
func (s *Server) put(ctx context.Context, key store.Key, in MatchInput, body []byte) (*resourceOutput, error) {
	expect, err := parseETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	desired, err := s.desiredOf(key, body)
	if err != nil {
		return nil, err
	}
	if in.DryRun != "" {
		return s.dryRun(ctx, key, expect, func(*shadow.Document) (*shadow.Update, error) {
			return &shadow.Update{Desired: shadow.Section{Present: true, Patch: desired, Replace: true}}, nil
		})
	}
	d, changed, err := s.cfg.Shadows.ReplaceDesired(ctx, s.principal(ctx), key, desired, expect)
	if err != nil {
		return nil, problem(err, expect != nil)
	}
	out := output(key, d)
	if changed && d.DesiredVersion == 1 {
		out.Status = http.StatusCreated
	}
	return out, nil
}

// patch merges the body into the desired section of what exists, or applies it
// as a JSON Patch if that is its type.
func (s *Server) patch(ctx context.Context, key store.Key, in MatchInput, body []byte) (*resourceOutput, error) {
	if kind, _, err := mime.ParseMediaType(in.ContentType); err == nil && kind == jsonPatchType {
		return s.patchJSON(ctx, key, in, body)
	}
	expect, err := parseETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	desired, err := s.desiredOf(key, body)
	if err != nil {
		return nil, err
	}
	u := &shadow.Update{Desired: shadow.Section{Present: true, Patch: desired}, Version: expect}
	if in.DryRun != "" {
		return s.dryRun(ctx, key, expect, func(*shadow.Document) (*shadow.Update, error) { return u, nil })
	}
	if _, err := s.get(ctx, key); err != nil {
		return nil, err
	}
	d, err := s.cfg.Shadows.Update(ctx, s.principal(ctx), key, u)
	if err != nil {
		return nil, problem(err, expect != nil)
	}
	return output(key, d), nil
}

// dryRun answers what a write would lead to, or how it would be refused.
func (s *Server) dryRun(ctx context.Context, key store.Key, expect *uint64, update func(*shadow.Document) (*shadow.Update, error)) (*resourceOutput, error) {
	d, err := s.cfg.Shadows.Get(ctx, s.principal(ctx), key)
	if err != nil && !errors.Is(err, shadow.ErrNotFound) {
		return nil, problem(err, false)
	}
	if expect != nil && (!d.Exists() || d.Version != *expect) {
		return nil, problem(shadow.ErrVersionConflict, true)
	}
	var old *shadow.Value
	if d.Exists() {
		old = d.Desired
	}
	now := int64(0)
	if d != nil {
		now = d.Timestamp
	}
	u, err := update(d)
	if err != nil {
		return nil, problem(err, false)
	}
	u.Version = nil
	next, err := d.Apply(u, now, s.cfg.Limits)
	if err == nil {
		err = schema.Validate(key.Shadow, next.Desired)
	}
	if err != nil {
		return nil, problem(err, false)
	}
	if d.Exists() && shadow.Equal(old, next.Desired) {
		next = d
	}
	return output(key, next), nil
}

type deleteOutput struct {
	Body struct {
		Version uint64 `json:"version" doc:"the version that was deleted"`
	}
}

func (s *Server) remove(ctx context.Context, key store.Key, in MatchInput) (*deleteOutput, error) {
	expect, err := parseETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	out := &deleteOutput{}
	d, err := s.get(ctx, key)
	if err != nil {
		return nil, err
	}
	if in.DryRun != "" {
		out.Body.Version = d.Version
		return out, nil
	}
	tombstone, err := s.cfg.Shadows.Delete(ctx, s.principal(ctx), key, expect)
	if err != nil {
		return nil, problem(err, expect != nil)
	}
	out.Body.Version = tombstone.Version - 1
	return out, nil
}
