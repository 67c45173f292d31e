// Package client calls the cloud's HTTP API for the operator's command line. It
// bounds what it reads, names the server in every failure, and never retries:
// the operator sees what happened.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gnomon/schema"
	"gnomon/shadow/wire"
)

// maxAnswer bounds an answer: a full page of the largest documents.
const maxAnswer = 256 << 20

// Client calls one server.
type Client struct {
	Server string // such as http://127.0.0.1:8080
	HTTP   *http.Client
	Parent string // W3C traceparent of what is written; "" = the server makes one for each
}

// Error is an answer that is no success.
type Error struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Errors []struct {
		Path    string `json:"path"`
		Message string `json:"message"`
	} `json:"errors"`
}

func (e *Error) Error() string {
	if len(e.Errors) > 0 {
		var b strings.Builder
		if e.Errors[0].Path == "selector" {
			return e.Detail
		}
		b.WriteString("the document is refused:")
		for _, p := range e.Errors {
			fmt.Fprintf(&b, "\n  %s: %s", p.Path, p.Message)
		}
		return b.String()
	}
	return e.Detail
}

// Resource is a node, an application or a policy.
type Resource struct {
	Kind           schema.Kind     `json:"kind"`
	Node           string          `json:"node,omitempty"`
	Name           string          `json:"name"`
	Version        uint64          `json:"version,omitempty"`
	DesiredVersion uint64          `json:"desiredVersion,omitempty"`
	Timestamp      int64           `json:"timestamp,omitempty"`
	Desired        json.RawMessage `json:"desired,omitempty"`
	Reported       json.RawMessage `json:"reported,omitempty"`
	Delta          json.RawMessage `json:"delta,omitempty"`
	Status         *schema.Status  `json:"status,omitempty"`
}

// Ref names a resource.
type Ref struct {
	Kind schema.Kind
	Node string // the node itself, or the node that Name is on
	Name string // "" for a node
}

func (r Ref) String() string {
	if r.Name == "" {
		return string(r.Kind) + " " + r.Node
	}
	return string(r.Kind) + " " + r.Node + "/" + r.Name
}

// Path is where the API has the resource.
func (r Ref) Path() string {
	path := "/v1/nodes/" + url.PathEscape(r.Node)
	switch r.Kind {
	case schema.KindApplication:
		path += "/apps/"
	case schema.KindPolicy:
		path += "/policies/"
	default:
		return path
	}
	return path + url.PathEscape(r.Name)
}

// Ref returns what names the resource.
func (r *Resource) Ref() Ref {
	if r.Kind == schema.KindNode {
		return Ref{Kind: r.Kind, Node: r.Name}
	}
	return Ref{Kind: r.Kind, Node: r.Node, Name: r.Name}
}

// Get reads a resource.
func (c *Client) Get(ctx context.Context, ref Ref) (*Resource, error) {
	r := new(Resource)
	return r, c.call(ctx, http.MethodGet, ref.Path(), nil, r)
}

// Pages reads all items of a list, part by part.
func Pages[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	all := []T{}
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", "500")
	for {
		var page struct {
			Items    []T    `json:"items"`
			Continue string `json:"continue"`
		}
		if err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Continue == "" {
			return all, nil
		}
		query.Set("continue", page.Continue)
	}
}

// Put sets what is desired. With dryRun nothing changes.
func (c *Client) Put(ctx context.Context, ref Ref, desired []byte, dryRun bool) (*Resource, error) {
	path := ref.Path()
	if dryRun {
		path += "?dryRun=server"
	}
	r := new(Resource)
	return r, c.call(ctx, http.MethodPut, path, desired, r)
}

// Post sends a request that makes something. ifMatch, when given, is the version
// that must be current.
func (c *Client) Post(ctx context.Context, path string, body any, ifMatch string, out any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.send(ctx, request{http.MethodPost, path, ifMatch, text}, out)
}

// Delete removes a resource.
func (c *Client) Delete(ctx context.Context, ref Ref) error {
	return c.call(ctx, http.MethodDelete, ref.Path(), nil, new(json.RawMessage))
}

// DeleteRaw removes what is at a path and returns the answer.
func (c *Client) DeleteRaw(ctx context.Context, path string) (json.RawMessage, error) {
	var raw json.RawMessage
	return raw, c.call(ctx, http.MethodDelete, path, nil, &raw)
}

// Raw reads any JSON below the server.
func (c *Client) Raw(ctx context.Context, path string) (json.RawMessage, error) {
	var raw json.RawMessage
	return raw, c.call(ctx, http.MethodGet, path, nil, &raw)
}

// Stream reads an answer that has no end in sight. The caller closes it.
func (c *Client) Stream(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Server, "/")+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(err)
	}
	return nil, refusal(resp.StatusCode, answer)
}

func (c *Client) call(ctx context.Context, method, path string, body []byte, out any) error {
	return c.send(ctx, request{method: method, path: path, body: body}, out)
}

type request struct {
	method, path, ifMatch string
	body                  []byte
}

func (c *Client) send(ctx context.Context, r request, out any) error {
	req, err := http.NewRequestWithContext(ctx, r.method, strings.TrimSuffix(c.Server, "/")+r.path, bytes.NewReader(r.body))
	if err != nil {
		return err
	}
	if r.ifMatch != "" {
		req.Header.Set("If-Match", r.ifMatch)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Parent != "" && r.method != http.MethodGet {
		req.Header.Set(wire.TraceProperty, c.Parent)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.unreachable(err)
	}
	if to := resp.Header.Get("Location"); resp.StatusCode/100 == 3 && to != "" {
		return &Error{Status: resp.StatusCode, Detail: fmt.Sprintf("nothing was done: %s redirects to %s; give --server the address that it redirects to", c.Server, to)}
	}
	if resp.StatusCode >= 300 {
		return refusal(resp.StatusCode, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s does not answer like a gnomon cloud: %w", c.Server, err)
	}
	return nil
}

// SameMethod follows redirects that ask for the same again. Others make a GET of what
// writes, whose answer looks as if it had been done.
func SameMethod(next *http.Request, before []*http.Request) error {
	if next.Method != before[0].Method {
		return http.ErrUseLastResponse
	}
	if len(before) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

func (c *Client) unreachable(err error) error {
	return fmt.Errorf("can't reach the cloud at %s; is it running, and is --server right? %w", c.Server, err)
}

// refusal reads a problem, or the data plane's error.
func refusal(status int, answer []byte) error {
	e := &Error{Status: status}
	var message struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(answer, e) != nil || e.Detail == "" {
		if json.Unmarshal(answer, &message) == nil && message.Message != "" {
			e.Detail = message.Message
		} else {
			e.Detail = fmt.Sprintf("status %d: %.200s", status, answer)
		}
	}
	e.Status = status
	return e
}

// Event is a change of a shadow.
type Event struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Thing     string `json:"thing"`
	Shadow    string `json:"shadow"`
	Version   uint64 `json:"version"`
	Desired   bool   `json:"desired"`
	Reported  bool   `json:"reported"`
	Phase     string `json:"phase,omitempty"`
	Converged bool   `json:"converged"`
	Timestamp int64  `json:"timestamp"`
}

// Events follows changes and hands each to f until ctx ends, f fails, or the
// stream does. It returns the id to resume after.
func (c *Client) Events(ctx context.Context, after string, query url.Values, f func(Event) error) (string, error) {
	return c.follow(ctx, after, query, func(kind string, data []byte) error {
		if kind != "updated" && kind != "deleted" {
			return nil
		}
		var e Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("event: %w", err)
		}
		return f(e)
	})
}

// Step is a step of a change of a shadow.
type Step struct {
	ID      string    `json:"id,omitempty"`
	Version uint64    `json:"version"`
	Trace   string    `json:"trace,omitempty"`
	Step    string    `json:"step"`
	State   string    `json:"state,omitempty"` // in explanations
	At      time.Time `json:"at,omitzero"`
	Clock   string    `json:"clock,omitempty"`
	After   *float64  `json:"after,omitempty"` // milliseconds
	Text    string    `json:"text,omitempty"`
}

// Steps is Events for the steps of changes.
func (c *Client) Steps(ctx context.Context, after string, query url.Values, f func(Step) error) (string, error) {
	query = maps.Clone(query)
	query.Set("kind", "trace")
	return c.follow(ctx, after, query, func(kind string, data []byte) error {
		if kind != "trace" {
			return nil
		}
		var s Step
		if err := json.Unmarshal(data, &s); err != nil {
			return fmt.Errorf("step: %w", err)
		}
		return f(s)
	})
}

// follow reads server-sent events.
func (c *Client) follow(ctx context.Context, after string, query url.Values, f func(kind string, data []byte) error) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Server, "/")+"/v1/events?"+query.Encode(), nil)
	if err != nil {
		return after, err
	}
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return after, c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // the status says enough
		return after, refusal(resp.StatusCode, answer)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	var kind string
	for lines.Scan() {
		line := lines.Text()
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			after = id
		} else if k, ok := strings.CutPrefix(line, "event: "); ok {
			kind = k
		} else if kind == "gone" {
			return "", &Error{Status: http.StatusGone, Detail: "too slow for the events"}
		} else if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := f(kind, []byte(data)); err != nil {
				return after, err
			}
		}
	}
	return after, lines.Err()
}
