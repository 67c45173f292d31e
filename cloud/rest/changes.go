package rest

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gnomon/cloud/changeset"
	"gnomon/cloud/twin"
	"gnomon/schema"
	"gnomon/shadow"
)

// ChangeSet is a change-set as it stands. Times are as clients gave them, the
// second since 1970 where they are the server's.
type ChangeSet struct {
	Thing            string                 `json:"thing"`
	Generation       uint64                 `json:"generation" doc:"rises by one with every change-set of the thing"`
	Status           changeset.Status       `json:"status" enum:"scheduled,applied,reached,expired,superseded,failed,cancelled"`
	Reason           string                 `json:"reason,omitempty" doc:"why it failed, expired or was cancelled"`
	Shadows          map[string]ChangeShare `json:"shadows" doc:"by name; the empty name is the classic shadow"`
	NotBefore        string                 `json:"notBefore,omitempty"`
	ExpiresAt        string                 `json:"expiresAt,omitempty"`
	Windows          []changeset.Window     `json:"windows,omitempty"`
	NextWindow       string                 `json:"nextWindow,omitempty" doc:"when it may be applied next; of scheduled ones"`
	Precondition     map[string]string      `json:"precondition,omitempty"`
	Wait             *bool                  `json:"wait,omitempty"`
	ClearWhenReached bool                   `json:"clearWhenReached,omitempty"`
	Note             string                 `json:"note,omitempty"`
	By               string                 `json:"by"`
	Created          int64                  `json:"created"`
	Applied          int64                  `json:"applied,omitempty"`
	Ended            int64                  `json:"ended,omitempty"`
}

// ChangeShare is a change-set's part in one shadow.
type ChangeShare struct {
	Desired  any              `json:"desired,omitempty" doc:"as it was asked for; not in lists"`
	Replace  bool             `json:"replace,omitempty"`
	Expected *uint64          `json:"expected,omitempty" doc:"the version that must be current when it is applied"`
	Version  uint64           `json:"version,omitempty" doc:"the version that it made"`
	Receipts []schema.Receipt `json:"receipts,omitempty" doc:"what became of each value; not in lists"`
}

type changeOutput struct {
	Status   int
	Location string `header:"Location"`
	Body     *ChangeSet
}

type changesOutput struct {
	Body struct {
		Items    []*ChangeSet `json:"items" doc:"of a thing the newest first"`
		Continue string       `json:"continue,omitempty"`
	}
}

// ChangeSetInput is a change-set that is asked for. The middleware looks at the key.
type ChangeSetInput struct {
	DryRun         string `query:"dryRun" enum:"server" doc:"check everything and change nothing"`
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"the same request under the same key is done once, as for other writes"`
	BodyInput
}

// GenerationInput names a change-set of a thing.
type GenerationInput struct {
	Generation uint64 `path:"generation" minimum:"1"`
}

// ThingNameInput names a thing.
type ThingNameInput struct {
	Thing string `path:"thing" pattern:"^[a-zA-Z0-9:_-]{1,128}$"`
}

// ChangeRequest is a change-set as clients send it, for the API's description:
// changeset.Request reads it.
type ChangeRequest struct {
	Shadows          map[string]ChangeRequestShare `json:"shadows" doc:"what is to be changed, by the name of the shadow, such as app:web; the empty name is the classic shadow. All of it is applied as one generation, or nothing"`
	NotBefore        string                        `json:"notBefore,omitempty" format:"date-time" doc:"it is not applied before"`
	ExpiresAt        string                        `json:"expiresAt,omitempty" format:"date-time" doc:"not applied by then it is expired; applied and not reached by then it is taken back, but for what others wrote since"`
	Windows          []changeset.Window            `json:"windows,omitempty" doc:"it is applied in one of these. A window can be written as a text, too, such as \"mon-fri 22:00-04:00 Europe/Berlin\""`
	Precondition     map[string]string             `json:"precondition,omitempty" doc:"by shadow, the selector that must hold for it (see listShadows); a text instead of an object is asked of the classic shadow. Needs expiresAt unless wait is false"`
	Wait             bool                          `json:"wait,omitempty" default:"true" doc:"false: refuse it with 409 if the precondition does not hold now"`
	ClearWhenReached bool                          `json:"clearWhenReached,omitempty" doc:"remove from desired what it wrote once it is reported; not for applications and policies"`
	Note             string                        `json:"note,omitempty" maxLength:"1024"`
}

// ChangeRequestShare is what is to be changed of one shadow.
type ChangeRequestShare struct {
	Desired map[string]any `json:"desired" doc:"a merge patch (RFC 7396), or with replace all that is to be desired"`
	Replace bool           `json:"replace,omitempty"`
	Version uint64         `json:"version,omitempty" doc:"the version that must be current when it is applied; 0: there must be no such shadow"`
}

// registerChanges adds the operations on change-sets, for nodes and for any thing.
func (s *Server) registerChanges() {
	type nodeChange struct {
		NodeInput
		ChangeSetInput
	}
	type nodeGeneration struct {
		NodeInput
		GenerationInput
	}
	node := s.changeOperations("/v1/nodes/{node}/changes", "Node", "a node")
	huma.Register(s.api, node.add, func(ctx context.Context, in *nodeChange) (*changeOutput, error) {
		return s.change(ctx, in.Node, "/v1/nodes/"+in.Node+"/changes", in.ChangeSetInput)
	})
	huma.Register(s.api, node.list, func(ctx context.Context, in *NodeInput) (*changesOutput, error) { return s.changes(ctx, in.Node) })
	huma.Register(s.api, node.one, func(ctx context.Context, in *nodeGeneration) (*changeOutput, error) {
		return s.changeOf(ctx, in.Node, in.Generation)
	})
	huma.Register(s.api, node.cancel, func(ctx context.Context, in *nodeGeneration) (*changeOutput, error) {
		return s.cancelChange(ctx, in.Node, in.Generation)
	})
	type thingChange struct {
		ThingNameInput
		ChangeSetInput
	}
	type thingGeneration struct {
		ThingNameInput
		GenerationInput
	}
	thing := s.changeOperations("/v1/things/{thing}/changes", "Thing", "a thing")
	huma.Register(s.api, thing.add, func(ctx context.Context, in *thingChange) (*changeOutput, error) {
		return s.change(ctx, in.Thing, "/v1/things/"+in.Thing+"/changes", in.ChangeSetInput)
	})
	huma.Register(s.api, thing.list, func(ctx context.Context, in *ThingNameInput) (*changesOutput, error) {
		return s.changes(ctx, in.Thing)
	})
	huma.Register(s.api, thing.one, func(ctx context.Context, in *thingGeneration) (*changeOutput, error) {
		return s.changeOf(ctx, in.Thing, in.Generation)
	})
	huma.Register(s.api, thing.cancel, func(ctx context.Context, in *thingGeneration) (*changeOutput, error) {
		return s.cancelChange(ctx, in.Thing, in.Generation)
	})
	s.describeChange(node.add.Path)
	s.describeChange(thing.add.Path)
	huma.Register(s.api, huma.Operation{
		Method: http.MethodGet, Path: "/v1/changes", OperationID: "listChanges",
		Summary:     "List the change-sets of all things that are not over",
		Description: "limit is of things; each has all its change-sets that are not over.",
	}, s.openChanges)
}

var changeBoundsDoc = fmt.Sprintf("A thing has at most %d open ones (scheduled, or applied with an end or something to clear), "+
	"which write four times as many bytes as a shadow's state may have; one has at most %d shadows and %d windows, and times within %d days. "+
	"The last %d that are over are kept. All of it must be valid on what is desired at present, also when it is for later.",
	changeset.DefaultBounds.Open, changeset.DefaultBounds.Shadows, changeset.DefaultBounds.Windows, changeset.DefaultBounds.Horizon/86400, changeset.DefaultBounds.Ended)

type changeOperations struct{ add, list, one, cancel huma.Operation }

func (s *Server) changeOperations(path, id, what string) changeOperations {
	ops := changeOperations{
		add: huma.Operation{
			Method: http.MethodPost, Path: path, OperationID: "change" + id, DefaultStatus: http.StatusCreated,
			Summary:     "Change several shadows of " + what + " as one generation, now or when its time has come",
			Description: "All shadows are written, each with its next version, or none is. " + changeBoundsDoc, MaxBodyBytes: int64(s.cfg.Limits.BodyBytes),
			SkipValidateBody: true, // changeset checks it
		},
		list: huma.Operation{
			Method: http.MethodGet, Path: path, OperationID: "changes" + id,
			Summary: "List the change-sets of " + what + ": open ones, and the last that are over",
		},
		one: huma.Operation{
			Method: http.MethodGet, Path: path + "/{generation}", OperationID: "changeOf" + id,
			Summary: "Say what became of a change-set of " + what,
		},
		cancel: huma.Operation{
			Method: http.MethodDelete, Path: path + "/{generation}", OperationID: "cancelChange" + id, DefaultStatus: http.StatusOK,
			Summary: "Cancel a scheduled change-set of " + what,
		},
	}
	return ops
}

// describeChange says what a change-set looks like, which huma takes for bytes
// because we read it ourselves.
func (s *Server) describeChange(path string) {
	doc := s.api.OpenAPI()
	described := doc.Components.Schemas.Schema(reflect.TypeFor[ChangeRequest](), true, "ChangeRequest")
	doc.Paths[path].Post.RequestBody.Content["application/json"] = &huma.MediaType{Schema: described}
}

func (s *Server) change(ctx context.Context, thing, path string, in ChangeSetInput) (*changeOutput, error) {
	c, err := changeset.ParseRequest(in.RawBody, s.cfg.Shadows.ChangeRules())
	if err != nil {
		return nil, problem(err, false)
	}
	got, err := s.cfg.Shadows.Change(ctx, s.principal(ctx), thing, c, in.DryRun != "")
	if err != nil {
		return nil, problem(err, false)
	}
	if in.DryRun != "" {
		return &changeOutput{Status: http.StatusOK, Body: changeSetOf(got, true)}, nil
	}
	return &changeOutput{Status: http.StatusCreated, Location: fmt.Sprint(path, "/", got.Change.Generation), Body: changeSetOf(got, true)}, nil
}

func (s *Server) changeOf(ctx context.Context, thing string, generation uint64) (*changeOutput, error) {
	got, err := s.cfg.Shadows.ChangeOf(ctx, s.principal(ctx), thing, generation)
	if err != nil {
		return nil, problem(err, false)
	}
	return &changeOutput{Status: http.StatusOK, Body: changeSetOf(got, true)}, nil
}

func (s *Server) cancelChange(ctx context.Context, thing string, generation uint64) (*changeOutput, error) {
	got, err := s.cfg.Shadows.CancelChange(ctx, s.principal(ctx), thing, generation)
	if err != nil {
		return nil, problem(err, false)
	}
	return &changeOutput{Status: http.StatusOK, Body: changeSetOf(got, true)}, nil
}

func (s *Server) changes(ctx context.Context, thing string) (*changesOutput, error) {
	all, err := s.cfg.Shadows.Changes(ctx, s.principal(ctx), thing)
	if err != nil {
		return nil, problem(err, false)
	}
	out := &changesOutput{}
	out.Body.Items = make([]*ChangeSet, 0, len(all))
	for _, c := range all {
		out.Body.Items = append(out.Body.Items, changeSetOf(c, false))
	}
	return out, nil
}

func (s *Server) openChanges(ctx context.Context, in *ListInput) (*changesOutput, error) {
	after, err := parseContinue(in.Continue)
	if err != nil {
		return nil, err
	}
	things, err := s.cfg.Shadows.OpenChanges(s.principal(ctx), after, in.Limit)
	if err != nil {
		return nil, problem(err, false)
	}
	out := &changesOutput{}
	out.Body.Items = []*ChangeSet{}
	for _, thing := range things {
		all, err := s.changes(ctx, thing)
		if err != nil {
			return nil, err
		}
		slices.Reverse(all.Body.Items)
		for _, c := range all.Body.Items {
			if !c.Status.Over() {
				out.Body.Items = append(out.Body.Items, c)
			}
		}
	}
	if len(things) == in.Limit {
		out.Body.Continue = continueToken(things[len(things)-1])
	}
	return out, nil
}

// changeSetOf is a change-set for clients; whole with what it writes.
func changeSetOf(c *twin.ChangeSet, whole bool) *ChangeSet {
	x := c.Change
	out := &ChangeSet{
		Thing: c.Thing, Generation: x.Generation, Status: c.Status, Reason: x.Reason, Shadows: make(map[string]ChangeShare),
		NotBefore: moment(x.NotBefore), ExpiresAt: moment(x.ExpiresAt), Windows: x.Windows, Precondition: x.Precondition,
		ClearWhenReached: x.ClearWhenReached, Note: x.Note, By: x.By, Created: x.Created, Applied: x.Applied, Ended: x.Ended,
	}
	if x.NoWait {
		out.Wait = new(bool)
	}
	if c.Next > 0 {
		out.NextWindow = moment(c.Next)
	}
	for name, share := range x.Shadows {
		one := ChangeShare{Replace: share.Replace, Expected: share.Expect, Version: share.Version}
		if whole {
			if v, err := shadow.Parse(share.Desired, shadow.Limits{BodyBytes: 1 << 24, Depth: shadow.MaxDepth}); err == nil {
				one.Desired = present(v)
			}
			one.Receipts = c.Receipts[name]
		}
		out.Shadows[name] = one
	}
	return out
}

func moment(at int64) string {
	if at == 0 {
		return ""
	}
	return time.Unix(at, 0).UTC().Format(time.RFC3339)
}
