package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/schema"
)

func deleteCommand(o *options) *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use:   "delete KIND NODE[/NAME]",
		Short: "Remove an application or a policy from its node, or forget a node",
		Example: `  gnomon delete app edge-1/web --wait
  gnomon delete policy edge-1/meter
  gnomon delete node edge-1`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			kind, err := parseKind(args[0])
			if err == nil && kind == schema.KindFree {
				err = &usageError{fmt.Errorf("a free shadow is deleted by its device, or with DELETE /things/%s/shadow", args[1])}
			}
			if err != nil {
				return err
			}
			ref, err := parseRef(kind, args[1])
			if err != nil {
				return err
			}
			return s.delete(c.Context(), c.OutOrStdout(), ref, wait)
		},
	}
	c.Flags().DurationVar(&wait, "wait", 0, "wait until it is gone from the node, at most this long (1m if none is given)")
	c.Flags().Lookup("wait").NoOptDefVal = "1m"
	return c
}

func (s *session) delete(ctx context.Context, w io.Writer, ref client.Ref, wait time.Duration) error {
	limited, cancel := s.limited(ctx)
	defer cancel()
	if err := s.Delete(limited, ref); err != nil {
		return err
	}
	if wait > 0 && ref.Kind != schema.KindNode {
		err := s.await(ctx, wait, func(ctx context.Context) (bool, error) { return s.gone(ctx, ref) })
		if err != nil {
			return fmt.Errorf("%s is deleted, but its node has not said that it is gone: %w", ref, err)
		}
	}
	if s.format != output.Table {
		return output.Write(w, s.format, map[string]any{"kind": ref.Kind, "node": ref.Node, "name": ref.Name, "deleted": true})
	}
	_, err := fmt.Fprintf(w, "%s deleted\n", ref)
	return err
}

// gone tells whether a node no longer reports having an application or policy.
func (s *session) gone(ctx context.Context, ref client.Ref) (bool, error) {
	node, err := s.get1(ctx, client.Ref{Kind: schema.KindNode, Node: ref.Node})
	if err != nil || node == nil {
		return node == nil, err
	}
	list := "applications"
	if ref.Kind == schema.KindPolicy {
		list = "policies"
	}
	var reported struct {
		Node map[string]json.RawMessage `json:"node"`
	}
	if len(node.Reported) == 0 {
		return true, nil // it has never reported, so it has nothing
	}
	if err := json.Unmarshal(node.Reported, &reported); err != nil {
		return false, err
	}
	_, there := fields(reported.Node[list])[ref.Name]
	return !there, nil
}
