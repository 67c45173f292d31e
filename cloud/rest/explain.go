package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gnomon/cloud/history"
	"gnomon/cloud/store"
	"gnomon/cloud/trace"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Explanation says why a resource has or has not converged.
type Explanation struct {
	Kind            schema.Kind        `json:"kind"`
	Node            string             `json:"node"`
	Name            string             `json:"name"`
	Converged       bool               `json:"converged"`
	Phase           string             `json:"phase,omitempty"`
	DesiredVersion  uint64             `json:"desiredVersion"`
	ObservedVersion uint64             `json:"observedVersion" doc:"the desired version the node last acted on"`
	Pending         []PendingPath      `json:"pending,omitempty" doc:"what is desired and not applied yet"`
	Health          schema.HealthState `json:"health,omitempty" doc:"what the probe of the application says: starting, healthy or unhealthy"`
	Blockers        schema.Blockers    `json:"blockers,omitempty" doc:"what the node says it waits for"`
	Error           *schema.Fault      `json:"error,omitempty"`
	Summary         string             `json:"summary"`
	Next            string             `json:"next,omitempty" doc:"what to do or look at next"`
	Change          *trace.Story       `json:"change,omitempty" doc:"the last change of desired, or the one that was asked for, step by step"`
	Position        string             `json:"position" doc:"watch /v1/events?kind=trace after it for the steps that follow"`
}

// ChangeInput names one change of a resource.
type ChangeInput struct {
	Trace   string `query:"trace" doc:"the change with this trace: a trace id or a traceparent" maxLength:"128"`
	Version uint64 `query:"version" doc:"the change that led to this version; without either the last change of desired"`
}

// PendingPath is one desired value that is not applied yet.
type PendingPath struct {
	Path  string `json:"path"`
	Value any    `json:"value"`
	Since string `json:"since" doc:"when it was asked for, RFC 3339"`
}

// ExplainThingInput names any shadow, and one change of it.
type ExplainThingInput struct {
	Thing  string `path:"thing" pattern:"^[a-zA-Z0-9:_-]{1,128}$"`
	Shadow string `query:"shadow" doc:"a named shadow; without it the classic one" pattern:"^[$a-zA-Z0-9:_-]{0,64}$"`
	ChangeInput
}

func (s *Server) registerExplain() {
	huma.Register(s.api, huma.Operation{
		Method: http.MethodGet, Path: "/v1/things/{thing}/explain", OperationID: "explainShadow",
		Summary: "Say why any shadow has or has not converged, and follow one change of it",
	}, s.explainThing)
}

type explainOutput struct{ Body *Explanation }

func (s *Server) explain(ctx context.Context, key store.Key, in ChangeInput) (*explainOutput, error) {
	d, err := s.get(ctx, key)
	return s.explainDocument(ctx, key, in, d, err)
}

// explainThing is explain for any shadow.
func (s *Server) explainThing(ctx context.Context, in *ExplainThingInput) (*explainOutput, error) {
	key := store.Key{Thing: in.Thing, Shadow: in.Shadow}
	d, err := s.cfg.Shadows.Get(ctx, s.principal(ctx), key)
	return s.explainDocument(ctx, key, in.ChangeInput, d, problem(err, false))
}

func (s *Server) explainDocument(ctx context.Context, key store.Key, in ChangeInput, d *shadow.Document, err error) (*explainOutput, error) {
	var missing *Problem
	if errors.As(err, &missing) && missing.Status == http.StatusNotFound {
		return s.explainDeleted(ctx, key, in, err)
	}
	if err != nil {
		return nil, err
	}
	node, err := s.cfg.Shadows.Get(ctx, s.principal(ctx), store.Key{Thing: key.Thing})
	if err != nil {
		node = nil // the summary says that the node was never seen
	}
	e := explanationOf(key, d, node)
	if e.Change, e.Position, err = s.story(ctx, key, in, d); err != nil {
		return nil, err
	}
	return &explainOutput{Body: e}, nil
}

// explainDeleted tells of a deletion that is still remembered.
func (s *Server) explainDeleted(ctx context.Context, key store.Key, in ChangeInput, notFound error) (*explainOutput, error) {
	story, position, err := s.story(ctx, key, in, nil)
	if err != nil || story == nil {
		return nil, notFound
	}
	kind, name := kindOf(key, nil)
	e := &Explanation{Kind: kind, Node: key.Thing, Name: name, DesiredVersion: story.Version, Change: story, Position: position}
	e.Summary = "deleted; the node has not heard of it yet"
	if story.State == trace.StateDeleted {
		e.Converged, e.Summary = true, "deleted; the node has heard of it"
	}
	return &explainOutput{Body: e}, nil
}

// kept is what the history keeps of the current version of desired, nil if that
// is nothing.
func (s *Server) kept(ctx context.Context, key store.Key, d *shadow.Document) *trace.Past {
	if !d.Exists() {
		return nil
	}
	log, _, err := s.cfg.Shadows.History(ctx, s.principal(ctx), key)
	if err != nil {
		s.cfg.Log.Debug("history not read", "thing", key.Thing, "shadow", key.Shadow, "error", err)
		return nil
	}
	for _, e := range slices.Backward(log.Entries()) {
		if e.Version == d.DesiredVersion {
			door := trace.Door(e.Via)
			if e.Via != history.ViaChangeSet {
				door = trace.Door(strings.ToUpper(e.Via))
			}
			return &trace.Past{Version: e.Version, Trace: e.Trace, By: e.By, Door: door}
		}
	}
	return nil
}

// story tells of one change. Of a resource of which nothing is desired there is
// none, unless it is asked for.
func (s *Server) story(ctx context.Context, key store.Key, in ChangeInput, d *shadow.Document) (*trace.Story, string, error) {
	q := trace.Question{Key: key, Trace: in.Trace, Version: in.Version}
	if id, ok := wire.TraceID(q.Trace); ok {
		q.Trace = id
	}
	if q.Trace != "" && !wire.ValidTrace(q.Trace) {
		return nil, "", newProblem(http.StatusBadRequest, fmt.Sprintf("trace is %q; it must be 32 lower-case hexadecimal digits, or a traceparent", q.Trace))
	}
	story, position, err := s.cfg.Traces.Story(q, d)
	if err != nil || story.Parent == "" { // it isn't remembered: what is on disk?
		if q.Past = s.kept(ctx, key, d); q.Past != nil {
			story, position, err = s.cfg.Traces.Story(q, d)
		}
	}
	if errors.Is(err, trace.ErrUnknown) {
		if q.Trace == "" && q.Version == 0 {
			return nil, position, nil
		}
		return nil, "", newProblem(http.StatusNotFound, err.Error())
	}
	return story, position, nil
}

// kindOf is what a resource is and what it is called. The classic shadow of what
// is no node is a free one.
func kindOf(key store.Key, d *shadow.Document) (kind schema.Kind, name string) {
	kind, name = schema.KindOf(key.Shadow)
	if kind == schema.KindNode {
		if d.Exists() && !schema.IsNode(d) {
			return schema.KindFree, ""
		}
		name = key.Thing
	}
	return kind, name
}

func explanationOf(key store.Key, d, node *shadow.Document) *Explanation {
	kind, name := kindOf(key, d)
	status := schema.StatusOf(key.Shadow, d)
	e := &Explanation{
		Kind: kind, Node: key.Thing, Name: name, Converged: status.Converged, Phase: status.Phase, Health: status.Health,
		DesiredVersion: d.DesiredVersion, ObservedVersion: status.ObservedVersion,
		Pending: pendingOf(d.Delta(), ""), Blockers: schema.BlockersOf(d.Reported), Error: status.Fault,
	}
	seen := node.Exists() && node.Reported.Get(schema.NodeMember) != nil
	e.Summary, e.Next = e.words(seen)
	return e
}

// words puts the explanation into a sentence and says what to do next.
func (e *Explanation) words(nodeSeen bool) (summary, next string) {
	switch {
	case e.Kind == schema.KindFree && e.Converged:
		return "converged: nothing is desired that isn't reported", ""
	case e.Kind == schema.KindFree:
		return "not reported as desired: " + firstPaths(e.Pending), "it is its device that reports them: gnomon watch " + e.Node
	case e.Converged:
		return fmt.Sprintf("converged: the node has applied desired version %d", e.DesiredVersion), ""
	case !nodeSeen:
		return fmt.Sprintf("node %s has never reported", e.Node),
			"start its agent: gnomon-edge run --cloud mqtt://… --node " + e.Node
	case e.Error != nil:
		summary = fmt.Sprintf("%s: %s (%s)", e.Phase, e.Error.Message, e.Error.Code)
		if e.Error.Retryable {
			return summary, "the node tries again by itself; look at its log if it doesn't pass"
		}
		if e.Error.Code == schema.FaultNoRoom {
			return summary, "change it, or the policies it shares the line with: then the node tries again"
		}
		return summary, "change what is desired: the node won't try the same again"
	case slices.ContainsFunc(e.Blockers, func(b schema.Blocker) bool { return b.Code == schema.BlockedBeside }):
		return e.Phase + ": " + strings.Join(e.Blockers.Messages(), "; "), "change that, or set update.strategy to auto or stop-first"
	case len(e.Blockers) > 0:
		return e.Phase + ": " + strings.Join(e.Blockers.Messages(), "; "), "the node goes on by itself once that has passed"
	case e.ObservedVersion < e.DesiredVersion:
		return fmt.Sprintf("the node has not acted on desired version %d yet; it last acted on %d", e.DesiredVersion, e.ObservedVersion),
			"is it connected? gnomon describe node " + e.Node
	case len(e.Pending) > 0:
		return fmt.Sprintf("%s: %d paths are not applied yet: %s", e.Phase, len(e.Pending), firstPaths(e.Pending)), "watch it: gnomon watch " + e.Node
	default:
		return "the node is at it: phase " + e.Phase, "watch it: gnomon watch " + e.Node
	}
}

func firstPaths(p []PendingPath) string {
	const most = 3
	var paths []string
	for i, one := range p {
		if i == most {
			paths = append(paths, "…")
			break
		}
		paths = append(paths, one.Path)
	}
	return strings.Join(paths, ", ")
}

// pendingOf lists the leaves of a delta.
func pendingOf(v *shadow.Value, prefix string) []PendingPath {
	var out []PendingPath
	for key, m := range v.Members() {
		path := key
		if prefix != "" {
			path = prefix + "." + key
		}
		if m.Kind() == shadow.Object && m.Len() > 0 {
			out = append(out, pendingOf(m, path)...)
			continue
		}
		out = append(out, PendingPath{Path: path, Value: m, Since: time.Unix(m.Stamp(), 0).UTC().Format(time.RFC3339)})
	}
	return out
}
