package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gnomon/cloud/index"
	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

const selectorDoc = "requirements joined by commas: key=value, key!=value, key in (a,b), key notin (a,b), key^=prefix, key, !key, key>5, >=, <, <=. " +
	"Keys: site, phase, kind, name, node, component, converged, pendingFor (a time, such as 10m), error, label.<name> or the bare name of a label"

// SeesInput says what the answer must know.
type SeesInput struct {
	MinVersion string `query:"minVersion" doc:"wait for at most 5 s until the answer knows this version of a shadow, such as edge-1/app:web@7, or edge-1@3 for a node; what was written through this server it knows anyway" example:"edge-1/app:web@7"`
}

// NodesInput asks for nodes.
type NodesInput struct {
	SeesInput
	ListInput
	Selector string `query:"selector" doc:"as for listShadows"`
}

// ShadowsInput asks for shadows across all nodes.
type ShadowsInput struct {
	SeesInput
	ListInput
	Kind     schema.Kind `query:"kind" enum:"node,application,policy,shadow"`
	Selector string      `query:"selector"`
	Sort     index.Sort  `query:"sort" enum:"name,pendingSince" default:"name" doc:"pendingSince lists what has not converged, the longest first"`
}

// CountsInput asks for counts across all nodes.
type CountsInput struct {
	SeesInput
	Kind     schema.Kind `query:"kind" enum:"node,application,policy,shadow"`
	Selector string      `query:"selector"`
	By       string      `query:"by" doc:"component, phase, site, error, kind or label.<name>; without it there is only the total"`
	Limit    int         `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"of groups; the rest is in other"`
}

type shadowsOutput struct {
	Body struct {
		Items      []index.Item `json:"items"`
		Continue   string       `json:"continue,omitempty" doc:"for the next part, which there may be even when this one has no items"`
		Position   string       `json:"position" doc:"the answer knows every event up to this one: watch after it"`
		Incomplete bool         `json:"incomplete,omitempty" doc:"the index is full, and some shadows are not in it"`
		Read       int          `json:"read,omitempty" doc:"documents that were read"`
	}
}

type countsOutput struct {
	Body struct {
		Groups     []index.Group `json:"groups" doc:"the largest first"`
		Other      *index.Group  `json:"other,omitempty" doc:"what is in no group of these"`
		Total      index.Group   `json:"total"`
		Position   string        `json:"position" doc:"the answer knows every event up to this one: watch after it"`
		Incomplete bool          `json:"incomplete,omitempty" doc:"the index is full, and some shadows are not in it"`
	}
}

// registerQueries adds the questions across nodes.
func (s *Server) registerQueries() {
	huma.Register(s.api, huma.Operation{
		Method: http.MethodGet, Path: "/v1/shadows", OperationID: "listShadows", Summary: "Find shadows across all nodes",
		Description: "selector: " + selectorDoc + "; and desired.<path> and reported.<path> (gjson), for which documents are read, " +
			strconv.Itoa(index.MaxRead) + " for one answer at most, which may then have fewer items than the limit and still a continue.",
	}, s.listShadows)
	huma.Register(s.api, huma.Operation{
		Method: http.MethodGet, Path: "/v1/counts", OperationID: "countShadows", Summary: "Count shadows by what they have in common",
		Description: "selector: as for listShadows, of indexed keys.",
	}, s.countShadows)
}

var errNoIndex = newProblem(http.StatusServiceUnavailable, "this server has no index of shadows")

// finding checks a question and waits for what it must know.
func (s *Server) finding(ctx context.Context, selector string, in SeesInput) (index.Selector, error) {
	if s.cfg.Index == nil {
		return nil, errNoIndex
	}
	sel, err := index.ParseSelector(selector)
	if err != nil {
		return nil, queryProblem(err)
	}
	if in.MinVersion == "" {
		return sel, nil
	}
	key, version, err := parseMinVersion(in.MinVersion)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := s.cfg.Index.Wait(wait, key, version); err != nil {
		return nil, newProblem(http.StatusServiceUnavailable, "the index does not have "+in.MinVersion+" yet; try again")
	}
	return sel, nil
}

// parseMinVersion reads THING[/SHADOW]@VERSION.
func parseMinVersion(text string) (key store.Key, version uint64, err error) {
	name, digits, ok := strings.Cut(text, "@")
	key.Thing, key.Shadow, _ = strings.Cut(name, "/")
	version, err = strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || !wire.ValidThing(key.Thing) || key.Shadow != "" && !wire.ValidShadow(key.Shadow) {
		return key, 0, newProblem(http.StatusBadRequest, fmt.Sprintf("minVersion is %q; it must be THING@VERSION or THING/SHADOW@VERSION, such as edge-1/app:web@7", text))
	}
	return key, version, nil
}

func (s *Server) listShadows(ctx context.Context, in *ShadowsInput) (*shadowsOutput, error) {
	sel, err := s.finding(ctx, in.Selector, in.SeesInput)
	if err != nil {
		return nil, err
	}
	page, err := s.cfg.Index.List(ctx, s.principal(ctx), index.Query{
		Kind: in.Kind, Selector: sel, Sort: in.Sort, Limit: in.Limit, Continue: in.Continue,
	})
	if err != nil {
		return nil, queryProblem(err)
	}
	out := &shadowsOutput{}
	out.Body.Items, out.Body.Continue, out.Body.Position = page.Items, page.Continue, s.cfg.Shadows.EventID(page.Position)
	out.Body.Incomplete, out.Body.Read = page.Incomplete, page.Read
	return out, nil
}

func (s *Server) countShadows(ctx context.Context, in *CountsInput) (*countsOutput, error) {
	sel, err := s.finding(ctx, in.Selector, in.SeesInput)
	if err != nil {
		return nil, err
	}
	counts, err := s.cfg.Index.Count(ctx, s.principal(ctx), index.Counting{Kind: in.Kind, Selector: sel, By: in.By, Limit: in.Limit})
	if err != nil {
		return nil, queryProblem(err)
	}
	out := &countsOutput{}
	out.Body.Groups, out.Body.Total, out.Body.Incomplete = counts.Groups, counts.Total, counts.Incomplete
	out.Body.Position = s.cfg.Shadows.EventID(counts.Position)
	if counts.Other.Count > 0 {
		out.Body.Other = &counts.Other
	}
	return out, nil
}

// selectNodes lists the nodes that are selected, whole.
func (s *Server) selectNodes(ctx context.Context, in *NodesInput) (*listOutput, error) {
	sel, err := s.finding(ctx, in.Selector, in.SeesInput)
	if err != nil {
		return nil, err
	}
	p := s.principal(ctx)
	page, err := s.cfg.Index.List(ctx, p, index.Query{Kind: schema.KindNode, Selector: sel, Limit: in.Limit, Continue: in.Continue})
	if err != nil {
		return nil, queryProblem(err)
	}
	out := &listOutput{}
	out.Body.Items = make([]*Resource, 0, len(page.Items))
	for _, it := range page.Items {
		key := store.Key{Thing: it.Node}
		d, err := s.cfg.Shadows.Get(ctx, p, key)
		if errors.Is(err, shadow.ErrNotFound) {
			continue // gone since
		}
		if err != nil {
			return nil, problem(err, false)
		}
		out.Body.Items = append(out.Body.Items, resourceOf(key, d))
	}
	out.Body.Continue = page.Continue
	return out, nil
}

// queryProblem maps what the index refuses.
func queryProblem(err error) error {
	var refused *index.SelectorError
	switch {
	case errors.As(err, &refused):
		p := newProblem(http.StatusBadRequest, err.Error())
		p.Errors = []ProblemDetail{{Path: "selector", Message: err.Error(), Value: refused.Field}}
		if refused.Field == "" {
			p.Errors[0].Value = nil
		}
		return p
	case errors.Is(err, index.ErrContinue):
		return newProblem(http.StatusBadRequest, err.Error())
	case errors.Is(err, index.ErrBuilding):
		return newProblem(http.StatusServiceUnavailable, err.Error())
	}
	return problem(err, false)
}
