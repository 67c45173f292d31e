package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"gnomon/cli/output"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/schema"
)

// selecting is what asks across nodes.
type selecting struct {
	selector string
	allNodes bool
	sort     string
}

const selectorHelp = `only these: requirements joined by commas, such as zone=east,phase in (failed,backoff),!converged,pendingFor>10m`

func (f *selecting) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.selector, "selector", "l", "", selectorHelp)
	flags.BoolVarP(&f.allNodes, "all-nodes", "A", false, "of all nodes")
	flags.StringVar(&f.sort, "sort", "name", "with -A: name, or pendingSince for what has been pending longest")
}

// across tells whether a list is asked for that only the index of the cloud has.
func (f *selecting) across() bool { return f.selector != "" || f.allNodes || f.sort != "name" }

// find lists what is selected: nodes whole, the rest in a line each, of all nodes
// or of one.
func (s *session) find(ctx context.Context, w io.Writer, args []string, f selecting) error {
	kind, err := parseKind(args[0])
	if err != nil {
		return err
	}
	query := url.Values{}
	if f.selector != "" {
		query.Set("selector", f.selector)
	}
	if kind == schema.KindNode {
		if len(args) > 1 || f.sort != "name" {
			return &usageError{fmt.Errorf("gnomon get %s with a selector takes neither a name nor --sort", args[0])}
		}
		list, err := client.Pages[*client.Resource](ctx, s.Client, "/v1/nodes", query)
		if err != nil {
			return err
		}
		return s.printList(w, kind, list)
	}
	if len(args) > 1 && f.allNodes {
		return &usageError{fmt.Errorf("name a node, or say --all-nodes")}
	}
	if len(args) > 1 {
		if _, err := parseRef(schema.KindNode, args[1]); err != nil {
			return err
		}
		query.Set("selector", joined(f.selector, "node="+strconv.Quote(args[1])))
	}
	query.Set("kind", string(kind))
	query.Set("sort", f.sort)
	list, err := client.Pages[found](ctx, s.Client, "/v1/shadows", query)
	if err != nil {
		return err
	}
	return s.printFound(w, kind, list)
}

func joined(selector, more string) string {
	if selector == "" {
		return more
	}
	return selector + "," + more
}

// found is a shadow as the index knows it.
type found struct {
	Node            string      `json:"node"`
	Kind            schema.Kind `json:"kind"`
	Name            string      `json:"name"`
	Site            string      `json:"site,omitempty"`
	Phase           string      `json:"phase,omitempty"`
	Converged       bool        `json:"converged"`
	PendingSince    int64       `json:"pendingSince,omitempty"`
	Component       string      `json:"component,omitempty"`
	Version         uint64      `json:"version"`
	DesiredVersion  uint64      `json:"desiredVersion"`
	ObservedVersion uint64      `json:"observedVersion"`
	Error           string      `json:"error,omitempty"`
}

func (s *session) printFound(w io.Writer, kind schema.Kind, list []found) error {
	if s.format != output.Table {
		return output.Write(w, s.format, map[string]any{"items": list})
	}
	rows := make([][]string, 0, len(list))
	for _, f := range list {
		pending := ""
		if !f.Converged {
			pending = age(f.PendingSince)
		}
		row := []string{f.Node, f.Name, f.Phase, strconv.FormatBool(f.Converged), pending, f.Error}
		if kind == schema.KindApplication {
			row = append(row[:2:2], append([]string{f.Component}, row[2:]...)...)
		}
		rows = append(rows, row)
	}
	return output.Rows(w, foundHeaders[kind], rows)
}

var foundHeaders = map[schema.Kind][]string{
	schema.KindApplication: {"NODE", "APPLICATION", "COMPONENT", "PHASE", "CONVERGED", "PENDING", "ERROR"},
	schema.KindPolicy:      {"NODE", "POLICY", "PHASE", "CONVERGED", "PENDING", "ERROR"},
	schema.KindFree:        {"THING", "SHADOW", "PHASE", "CONVERGED", "PENDING", "ERROR"},
}

// perRequest bounds each of many requests in time, where a list comes in parts.
func (s *session) perRequest() { s.HTTP.Timeout = max(s.timeout, time.Second) }
