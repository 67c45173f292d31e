package rest

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gnomon/cloud/history"
	"gnomon/cloud/store"
	"gnomon/cloud/twin"
	"gnomon/shadow"
)

// PastVersion is one version of what was desired.
type PastVersion struct {
	Version    uint64 `json:"version"`
	Timestamp  int64  `json:"timestamp,omitempty" doc:"second since 1970; absent: it was written before there was a history"`
	By         string `json:"by,omitempty" doc:"the principal"`
	Via        string `json:"via,omitempty" enum:"http,mqtt,change-set"`
	Generation uint64 `json:"generation,omitempty" doc:"of the change-set that wrote it, if one did"`
	Trace      string `json:"trace,omitempty" doc:"id of the write's W3C trace, if it is known"`
	Deleted    bool   `json:"deleted,omitempty" doc:"the shadow was deleted with it"`
	Desired    any    `json:"desired,omitempty" doc:"what was desired; only when one version is asked for"`
}

type historyOutput struct {
	ETag string `header:"ETag"`
	Body struct {
		Version        uint64        `json:"version"`
		DesiredVersion uint64        `json:"desiredVersion"`
		Items          []PastVersion `json:"items" doc:"the newest first"`
	}
}

type pastOutput struct{ Body *PastVersion }

// VersionInput names a version of desired.
type VersionInput struct {
	Version uint64 `path:"version" minimum:"1"`
}

// RevertInput says what to go back to.
type RevertInput struct {
	MatchInput
	Body struct {
		Version uint64 `json:"version" minimum:"1" doc:"desired becomes what it was at this version"`
	}
}

// ThingInput names a shadow of any thing.
type ThingInput struct {
	Thing  string `path:"thing" pattern:"^[a-zA-Z0-9:_-]{1,128}$"`
	Shadow string `query:"shadow" doc:"a named shadow, such as app:web; without it the classic one" pattern:"^[$a-zA-Z0-9:_-]{0,64}$"`
}

func (t ThingInput) key() store.Key { return store.Key{Thing: t.Thing, Shadow: t.Shadow} }

// registerHistory adds the operations on what was desired, for nodes, for what
// nodes have, and for the shadows of any thing.
func (s *Server) registerHistory() {
	type nodeVersion struct {
		NodeInput
		VersionInput
	}
	type nodeRevert struct {
		NodeInput
		RevertInput
	}
	node := s.historyOperations("/v1/nodes/{node}", "Node", "a node")
	huma.Register(s.api, node.list, func(ctx context.Context, in *NodeInput) (*historyOutput, error) { return s.history(ctx, in.key()) })
	huma.Register(s.api, node.one, func(ctx context.Context, in *nodeVersion) (*pastOutput, error) {
		return s.past(ctx, in.key(), in.Version)
	})
	huma.Register(s.api, node.revert, func(ctx context.Context, in *nodeRevert) (*resourceOutput, error) {
		return s.revert(ctx, in.key(), in.RevertInput)
	})
	type itemVersion struct {
		ItemInput
		VersionInput
	}
	type itemRevert struct {
		ItemInput
		RevertInput
	}
	for _, c := range collections {
		ops := s.historyOperations("/v1/nodes/{node}/"+c.path+"/{name}", "-"+c.singular, c.article()+c.singular)
		huma.Register(s.api, ops.list, func(ctx context.Context, in *ItemInput) (*historyOutput, error) {
			return s.history(ctx, in.key(c.prefix))
		})
		huma.Register(s.api, ops.one, func(ctx context.Context, in *itemVersion) (*pastOutput, error) {
			return s.past(ctx, in.key(c.prefix), in.Version)
		})
		huma.Register(s.api, ops.revert, func(ctx context.Context, in *itemRevert) (*resourceOutput, error) {
			return s.revert(ctx, in.key(c.prefix), in.RevertInput)
		})
	}
	type thingVersion struct {
		ThingInput
		VersionInput
	}
	type thingRevert struct {
		ThingInput
		RevertInput
	}
	thing := s.historyOperations("/v1/things/{thing}", "Thing", "a shadow of a thing")
	huma.Register(s.api, thing.list, func(ctx context.Context, in *ThingInput) (*historyOutput, error) { return s.history(ctx, in.key()) })
	huma.Register(s.api, thing.one, func(ctx context.Context, in *thingVersion) (*pastOutput, error) {
		return s.past(ctx, in.key(), in.Version)
	})
	huma.Register(s.api, thing.revert, func(ctx context.Context, in *thingRevert) (*resourceOutput, error) {
		return s.revert(ctx, in.key(), in.RevertInput)
	})
}

type historyOperations struct{ list, one, revert huma.Operation }

func (s *Server) historyOperations(path, id, what string) historyOperations {
	return historyOperations{
		list: huma.Operation{
			Method: http.MethodGet, Path: path + "/history", OperationID: "history" + id,
			Summary: "List the last versions of what was desired of " + what,
		},
		one: huma.Operation{
			Method: http.MethodGet, Path: path + "/history/{version}", OperationID: "past" + id,
			Summary: "Read what was desired of " + what + " at an earlier version",
		},
		revert: huma.Operation{
			Method: http.MethodPost, Path: path + "/revert", OperationID: "revert" + id, DefaultStatus: http.StatusOK,
			Summary: "Make what is desired of " + what + " what it was, as a new version", MaxBodyBytes: 4096,
		},
	}
}

func (s *Server) history(ctx context.Context, key store.Key) (*historyOutput, error) {
	log, d, err := s.cfg.Shadows.History(ctx, s.principal(ctx), key)
	if err != nil {
		return nil, problem(err, false)
	}
	out := &historyOutput{ETag: etag(d.Version)}
	out.Body.Version, out.Body.DesiredVersion, out.Body.Items = d.Version, d.DesiredVersion, []PastVersion{}
	all := log.Entries()
	for i := len(all) - 1; i >= 0; i-- {
		out.Body.Items = append(out.Body.Items, pastVersion(all[i]))
	}
	return out, nil
}

func pastVersion(e history.Entry) PastVersion {
	return PastVersion{Version: e.Version, Timestamp: e.Time, By: e.By, Via: e.Via, Generation: e.Generation, Trace: e.Trace, Deleted: e.Deleted}
}

func (s *Server) past(ctx context.Context, key store.Key, version uint64) (*pastOutput, error) {
	log, _, err := s.cfg.Shadows.History(ctx, s.principal(ctx), key)
	if err != nil {
		return nil, problem(err, false)
	}
	e, desired, err := log.At(version)
	if errors.Is(err, history.ErrNotKept) {
		err = twin.NotKept(key, version, log)
	}
	if err != nil {
		return nil, problem(err, false)
	}
	out := pastVersion(e)
	out.Desired = present(desired)
	return &pastOutput{Body: &out}, nil
}

func (s *Server) revert(ctx context.Context, key store.Key, in RevertInput) (*resourceOutput, error) {
	expect, err := parseETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	if in.DryRun != "" {
		p, err := s.past(ctx, key, in.Body.Version)
		if err != nil {
			return nil, err
		}
		desired, _ := p.Body.Desired.(*shadow.Value)
		return s.dryRun(ctx, key, expect, func(*shadow.Document) (*shadow.Update, error) {
			return &shadow.Update{Desired: shadow.Section{Present: true, Patch: desired, Replace: true}}, nil
		})
	}
	d, _, err := s.cfg.Shadows.Revert(ctx, s.principal(ctx), key, in.Body.Version, expect)
	if err != nil {
		return nil, problem(err, expect != nil)
	}
	return output(key, d), nil
}
