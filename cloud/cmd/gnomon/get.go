package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/schema"
)

func getCommand(o *options) *cobra.Command {
	var across selecting
	c := &cobra.Command{
		Use:   "get KIND [NODE[/NAME]]",
		Short: "Print nodes, applications, policies or shadows",
		Long: `Print nodes, applications, policies or shadows.

KIND is node(s), app(s), policy/policies or shadow(s). Without a name all of the
kind are listed. What -o yaml prints, gnomon apply takes.

With --all-nodes or a selector the cloud is asked across nodes, and applications
and policies come in a line each, without what is desired and reported. The keys
of a selector are site, phase, kind, name, node, component, converged,
pendingFor, error, label.NAME or the bare name of a label, and desired.PATH and
reported.PATH, for which the cloud reads documents. There are key=value,
key!=value, key in (a,b), key notin (a,b), key^=prefix, key, !key and key>5, >=,
<, <=.`,
		Example: `  gnomon get nodes
  gnomon get apps edge-1
  gnomon get app edge-1/web -o yaml
  gnomon get nodes -l zone=east
  gnomon get apps --all-nodes -l 'pendingFor>10m' --sort pendingSince
  gnomon get shadow sensor-7          # the classic shadow of a thing
  gnomon get shadow sensor-7/config   # a named one`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			if across.across() {
				s.perRequest()
				return s.find(c.Context(), c.OutOrStdout(), args, across)
			}
			ctx, cancel := s.limited(c.Context())
			defer cancel()
			return s.get(ctx, c.OutOrStdout(), args)
		},
	}
	across.register(c.Flags())
	return c
}

func (s *session) get(ctx context.Context, w io.Writer, args []string) error {
	kind, err := parseKind(args[0])
	if err != nil {
		return err
	}
	if kind == schema.KindFree {
		return s.getShadow(ctx, w, args[0], args[1:])
	}
	if path, ok := listPath(kind, args[0], args[1:]); ok {
		list, err := client.Pages[*client.Resource](ctx, s.Client, path, nil)
		if err != nil {
			return err
		}
		return s.printList(w, kind, list)
	}
	if len(args) < 2 {
		return &usageError{fmt.Errorf("name the node: gnomon get %s NODE", args[0])}
	}
	ref, err := parseRef(kind, args[1])
	if err != nil {
		return err
	}
	r, err := s.Get(ctx, ref)
	if err != nil {
		return err
	}
	if s.format == output.Table {
		return s.printList(w, kind, []*client.Resource{r})
	}
	return output.Write(w, s.format, r)
}

// listPath tells whether a list is asked for: all nodes, or what a node has,
// named in the plural.
func listPath(kind schema.Kind, word string, names []string) (string, bool) {
	switch {
	case kind == schema.KindNode && len(names) == 0:
		return "/v1/nodes", true
	case kind == schema.KindApplication && len(names) == 1 && (word == "apps" || word == "applications"):
		return "/v1/nodes/" + url.PathEscape(names[0]) + "/apps", true
	case kind == schema.KindPolicy && len(names) == 1 && word == "policies":
		return "/v1/nodes/" + url.PathEscape(names[0]) + "/policies", true
	}
	return "", false
}

func (s *session) getShadow(ctx context.Context, w io.Writer, word string, names []string) error {
	if len(names) == 0 {
		return &usageError{fmt.Errorf("name the thing: gnomon get %s THING", word)}
	}
	ref, err := parseRef(schema.KindFree, names[0])
	if err != nil {
		return err
	}
	path := "/things/" + url.PathEscape(ref.Node) + "/shadow"
	if ref.Name != "" {
		path += "?name=" + url.QueryEscape(ref.Name)
	}
	if word == "shadows" {
		path = "/api/things/shadow/ListNamedShadowsForThing/" + url.PathEscape(ref.Node) + "?pageSize=100"
	}
	raw, err := s.Raw(ctx, path)
	if err != nil {
		return err
	}
	if s.format == output.Table {
		return output.Write(w, output.YAML, raw) // a document doesn't fit a line
	}
	return output.Write(w, s.format, raw)
}

func (s *session) printList(w io.Writer, kind schema.Kind, list []*client.Resource) error {
	if s.format != output.Table {
		return output.Write(w, s.format, map[string]any{"items": list})
	}
	var rows [][]string
	for _, r := range list {
		rows = append(rows, row(kind, r))
	}
	return output.Rows(w, headers[kind], rows)
}

var headers = map[schema.Kind][]string{
	schema.KindNode:        {"NODE", "SITE", "AGENT", "APPS", "POLICIES", "ALARMS", "READY", "CONVERGED", "CHANGED"},
	schema.KindApplication: {"APPLICATION", "MODE", "COMPONENT", "PHASE", "PID", "RESTARTS", "CONVERGED", "CHANGED"},
	schema.KindPolicy:      {"POLICY", "SOURCE", "PERIOD", "PHASE", "METERS", "CONVERGED", "CHANGED"},
}

func row(kind schema.Kind, r *client.Resource) []string {
	desired, reported := fields(r.Desired), fields(r.Reported)
	converged := strconv.FormatBool(r.Status.Converged)
	changed := age(r.Timestamp)
	switch kind {
	case schema.KindNode:
		node := reported.in("node")
		return []string{r.Name, desired.in("node").text("site"), agentOf(node),
			node.in("applications").count(), node.in("policies").count(),
			node.in(schema.ActiveAlarmsMember).count(), node.in(schema.ReadinessMember).text("level"), converged, changed}
	case schema.KindApplication:
		is := desired
		if len(desired) == 0 {
			is = reported // installed on the node itself
		}
		mode := is.text("mode")
		if mode == "" {
			mode = string(schema.ModeContainer)
		}
		return []string{r.Name, mode, is.text("component"), r.Status.Phase,
			reported.text("pid"), reported.text("restarts"), converged, changed}
	default:
		source := desired.in("source")
		return []string{r.Name, source.text("kind") + " " + source.text("address") + source.text("port"),
			desired.text("period"), r.Status.Phase, reported.in("readings").count(), converged, changed}
	}
}

// age says how long ago a second was, in its largest unit.
func age(second int64) string {
	d := time.Since(time.Unix(second, 0))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd ago", int(d.Hours()/24))
	}
}

// object is a JSON object that may be absent or not what was expected.
type object map[string]json.RawMessage

func fields(raw json.RawMessage) object {
	var o object
	if json.Unmarshal(raw, &o) != nil {
		return nil // a free document needn't have the members a table shows
	}
	return o
}

// agentOf is the version of a node's agent, which once was text.
func agentOf(node object) string {
	if v := node.in("agent").text("version"); v != "" && v != "-" {
		return v
	}
	return node.text("agent")
}

func (o object) in(key string) object { return fields(o[key]) }

// text returns a member for a table cell: strings without quotes.
func (o object) text(key string) string {
	var s string
	if json.Unmarshal(o[key], &s) == nil {
		return s
	}
	return string(o[key])
}

func (o object) count() string {
	if o == nil {
		return ""
	}
	return strconv.Itoa(len(o))
}
