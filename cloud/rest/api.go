package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gnomon/cloud/store"
	"gnomon/cloud/twin"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// apiVersion is that of the API, which the program's own version doesn't change.
const apiVersion = "1"

func apiConfig() huma.Config {
	c := huma.DefaultConfig("Gnomon", apiVersion)
	c.Info.Description = "Nodes, applications and collection policies as versioned shadow documents. " +
		"The data plane below /things follows the AWS IoT Device Shadow service."
	c.DocsPath, c.SchemasPath = "", "" // a page of scripts from elsewhere is of no use without the internet
	c.CreateHooks = nil                // no $schema members in answers
	c.RejectUnknownQueryParameters = true
	return c
}

// collection is one kind of resource of a node.
type collection struct {
	path, singular, plural string
	prefix                 string
}

func (c collection) article() string {
	if c.singular == "policy" {
		return "a "
	}
	return "an "
}

var collections = []collection{
	{"apps", "application", "applications", schema.AppPrefix},
	{"policies", "policy", "policies", schema.PolicyPrefix},
}

// The inputs are exported because huma looks only into embedded fields that are.

// ListInput is which part of a list.
type ListInput struct {
	Limit    int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Continue string `query:"continue" doc:"from an earlier answer, for the next part"`
}

// NodeInput names a node.
type NodeInput struct {
	Node string `path:"node" pattern:"^[a-zA-Z0-9:_-]{1,128}$"`
}

// ItemInput names an application or a policy of a node.
type ItemInput struct {
	NodeInput
	Name string `path:"name" pattern:"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$"`
}

// MatchInput says under which conditions a write happens.
type MatchInput struct {
	IfMatch string `header:"If-Match" doc:"change only this version, an ETag as given"`
	DryRun  string `query:"dryRun" enum:"server" doc:"check everything and change nothing"`
	// The middleware looks at it.
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"the same request under the same key is done once and answered the same for 24 hours; another request under it is refused with 422. What is kept is bounded, and lost when the server ends"`

	Parent      string `header:"traceparent" doc:"W3C Trace Context, under which the change is followed (see explain); the answer has the same header, with a new one if this isn't one"`
	ContentType string `header:"Content-Type" hidden:"true"`
}

// BodyInput is a body that is read by us.
type BodyInput struct {
	RawBody []byte `contentType:"application/json"`
}

type resourceOutput struct {
	Status int
	ETag   string `header:"ETag"`
	Body   *Resource
}

type listOutput struct {
	Body struct {
		Items    []*Resource `json:"items"`
		Continue string      `json:"continue,omitempty"`
	}
}

func output(key store.Key, d *shadow.Document) *resourceOutput {
	return &resourceOutput{Status: http.StatusOK, ETag: etag(d.Version), Body: resourceOf(key, d)}
}

// registerResources adds the operations on nodes and on what nodes have.
func (s *Server) registerResources() {
	op := func(method, path, id, summary string) huma.Operation {
		o := huma.Operation{
			Method: method, Path: "/v1/nodes" + path, OperationID: id, Summary: summary,
			MaxBodyBytes: int64(s.cfg.Limits.BodyBytes), DefaultStatus: http.StatusOK,
		}
		if method == http.MethodPut || method == http.MethodPatch {
			o.SkipValidateBody = true // it is a desired section, which schema checks
			object := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeObject, Description: "what is desired", AdditionalProperties: true}}
			o.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": object}}
			if method == http.MethodPatch {
				o.RequestBody.Content["application/merge-patch+json"] = object
				o.RequestBody.Content[jsonPatchType] = &huma.MediaType{Schema: jsonPatchSchema()}
			}
		}
		return o
	}
	huma.Register(s.api, op(http.MethodGet, "", "listNodes", "List nodes"), s.listNodes)
	huma.Register(s.api, op(http.MethodGet, "/{node}", "getNode", "Read a node"), func(ctx context.Context, in *NodeInput) (*resourceOutput, error) {
		return s.read(ctx, in.key())
	})
	type nodeWrite struct {
		NodeInput
		MatchInput
		BodyInput
	}
	huma.Register(s.api, op(http.MethodPut, "/{node}", "putNode", "Set what is desired of a node"), func(ctx context.Context, in *nodeWrite) (*resourceOutput, error) {
		return s.put(ctx, in.key(), in.MatchInput, in.RawBody)
	})
	patch := op(http.MethodPatch, "/{node}", "patchNode", "Change what is desired of a node (RFC 7396 or RFC 6902)")
	huma.Register(s.api, patch, func(ctx context.Context, in *nodeWrite) (*resourceOutput, error) {
		return s.patch(ctx, in.key(), in.MatchInput, in.RawBody)
	})
	type nodeDelete struct {
		NodeInput
		MatchInput
	}
	huma.Register(s.api, op(http.MethodDelete, "/{node}", "deleteNode", "Forget a node"), func(ctx context.Context, in *nodeDelete) (*deleteOutput, error) {
		return s.remove(ctx, in.key(), in.MatchInput)
	})
	type explainNode struct {
		NodeInput
		ChangeInput
	}
	huma.Register(s.api, op(http.MethodGet, "/{node}/explain", "explainNode", "Say why a node has or has not converged, and follow one change of it"), func(ctx context.Context, in *explainNode) (*explainOutput, error) {
		return s.explain(ctx, in.key(), in.ChangeInput)
	})
	for _, c := range collections {
		s.registerCollection(c, op)
	}
}

func (s *Server) registerCollection(c collection, op func(method, path, id, summary string) huma.Operation) {
	all, one := "/{node}/"+c.path, "/{node}/"+c.path+"/{name}"
	article := c.article()
	type listOf struct {
		NodeInput
		ListInput
	}
	type write struct {
		ItemInput
		MatchInput
		BodyInput
	}
	type remove struct {
		ItemInput
		MatchInput
	}
	type explain struct {
		ItemInput
		ChangeInput
	}
	huma.Register(s.api, op(http.MethodGet, all, "list-"+c.plural, "List the "+c.plural+" of a node"), func(ctx context.Context, in *listOf) (*listOutput, error) {
		return s.listCollection(ctx, in.Node, c.prefix, in.ListInput)
	})
	huma.Register(s.api, op(http.MethodGet, one, "get-"+c.singular, "Read "+article+c.singular), func(ctx context.Context, in *ItemInput) (*resourceOutput, error) {
		return s.read(ctx, in.key(c.prefix))
	})
	huma.Register(s.api, op(http.MethodPut, one, "put-"+c.singular, "Set what is desired of "+article+c.singular), func(ctx context.Context, in *write) (*resourceOutput, error) {
		return s.put(ctx, in.key(c.prefix), in.MatchInput, in.RawBody)
	})
	huma.Register(s.api, op(http.MethodPatch, one, "patch-"+c.singular, "Change what is desired of "+article+c.singular+" (RFC 7396 or RFC 6902)"), func(ctx context.Context, in *write) (*resourceOutput, error) {
		return s.patch(ctx, in.key(c.prefix), in.MatchInput, in.RawBody)
	})
	huma.Register(s.api, op(http.MethodDelete, one, "delete-"+c.singular, "Remove "+article+c.singular), func(ctx context.Context, in *remove) (*deleteOutput, error) {
		return s.remove(ctx, in.key(c.prefix), in.MatchInput)
	})
	huma.Register(s.api, op(http.MethodGet, one+"/explain", "explain-"+c.singular, "Say why "+article+c.singular+" has or has not converged, and follow one change of it"), func(ctx context.Context, in *explain) (*explainOutput, error) {
		return s.explain(ctx, in.key(c.prefix), in.ChangeInput)
	})
}

func (n NodeInput) key() store.Key { return store.Key{Thing: n.Node} }

func (i ItemInput) key(prefix string) store.Key {
	return store.Key{Thing: i.Node, Shadow: prefix + i.Name}
}

func (s *Server) listNodes(ctx context.Context, in *NodesInput) (*listOutput, error) {
	if in.Selector != "" || in.MinVersion != "" {
		return s.selectNodes(ctx, in)
	}
	after, err := parseContinue(in.Continue)
	if err != nil {
		return nil, err
	}
	list, next, err := s.cfg.Shadows.Nodes(ctx, s.principal(ctx), twin.Page{After: after, Limit: in.Limit})
	return listOf(list, next, err)
}

func (s *Server) listCollection(ctx context.Context, node, prefix string, in ListInput) (*listOutput, error) {
	after, err := parseContinue(in.Continue)
	if err != nil {
		return nil, err
	}
	list, next, err := s.cfg.Shadows.Shadows(ctx, s.principal(ctx), node, twin.Page{Prefix: prefix, After: after, Limit: in.Limit})
	return listOf(list, next, err)
}

func listOf(list []twin.Entry, next string, err error) (*listOutput, error) {
	if err != nil {
		return nil, problem(err, false)
	}
	out := &listOutput{}
	out.Body.Items = make([]*Resource, 0, len(list))
	for _, e := range list {
		out.Body.Items = append(out.Body.Items, resourceOf(e.Key, e.Document))
	}
	out.Body.Continue = continueToken(next)
	return out, nil
}

// get reads a resource. A thing that is no node isn't found among the nodes.
func (s *Server) get(ctx context.Context, key store.Key) (*shadow.Document, error) {
	d, err := s.cfg.Shadows.Get(ctx, s.principal(ctx), key)
	if err == nil && key.Shadow == "" && !schema.IsNode(d) {
		err = wire.NotFound(key.Thing, "")
	}
	return d, problem(err, false)
}

func (s *Server) read(ctx context.Context, key store.Key) (*resourceOutput, error) {
	d, err := s.get(ctx, key)
	if err != nil {
		return nil, err
	}
	return output(key, d), nil
}
