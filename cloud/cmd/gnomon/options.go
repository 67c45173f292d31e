package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/cli/settings"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/schema"
)

// options are the flags that all commands of the operator share.
type options struct {
	server  string
	format  string
	timeout time.Duration
	noInput bool
}

func (o *options) register(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&o.server, "server", "http://127.0.0.1:8080", "the cloud's HTTP address (GNOMON_SERVER)")
	f.StringVarP(&o.format, "output", "o", "table", "json, yaml or table")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "for one request")
	f.BoolVar(&o.noInput, "no-input", false, "never ask (gnomon never does; for scripts that say so)")
}

// session is what a command works with.
type session struct {
	*client.Client
	format  output.Format
	timeout time.Duration
}

// open reads the shared flags.
func (o *options) open(c *cobra.Command) (*session, error) {
	if err := settings.Fill(c.Flags(), ""); err != nil {
		return nil, &usageError{err}
	}
	f, err := output.Parse(o.format)
	if err != nil {
		return nil, &usageError{err}
	}
	if !strings.HasPrefix(o.server, "http://") && !strings.HasPrefix(o.server, "https://") {
		return nil, &usageError{fmt.Errorf("--server %q: must begin with http:// or https://", o.server)}
	}
	return &session{&client.Client{Server: o.server, HTTP: &http.Client{CheckRedirect: client.SameMethod}}, f, o.timeout}, nil
}

// limited bounds one request in time.
func (s *session) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// kinds are the words for kinds on the command line.
var kinds = map[string]schema.Kind{
	"node": schema.KindNode, "nodes": schema.KindNode,
	"app": schema.KindApplication, "apps": schema.KindApplication, "application": schema.KindApplication, "applications": schema.KindApplication,
	"policy": schema.KindPolicy, "policies": schema.KindPolicy,
	"shadow": schema.KindFree, "shadows": schema.KindFree,
}

func parseKind(word string) (schema.Kind, error) {
	if k, ok := kinds[word]; ok {
		return k, nil
	}
	return "", &usageError{fmt.Errorf("%q is no kind; the kinds are node, app, policy and shadow", word)}
}

// parseRef reads NODE or NODE/NAME.
func parseRef(kind schema.Kind, arg string) (client.Ref, error) {
	node, name, both := strings.Cut(arg, "/")
	wantBoth := kind != schema.KindNode
	switch {
	case node == "", both && name == "":
		return client.Ref{}, &usageError{fmt.Errorf("%q names nothing", arg)}
	case wantBoth && !both && kind != schema.KindFree:
		return client.Ref{}, &usageError{fmt.Errorf("%q: name it as NODE/NAME", arg)}
	case !wantBoth && both:
		return client.Ref{}, &usageError{errors.New("a node is named without a slash")}
	}
	return client.Ref{Kind: kind, Node: node, Name: name}, nil
}
