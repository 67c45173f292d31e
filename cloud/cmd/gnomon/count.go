package main

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
)

func countCommand(o *options) *cobra.Command {
	var selector, by string
	var limit int
	c := &cobra.Command{
		Use:   "count KIND",
		Short: "Count nodes, applications, policies or shadows of all nodes",
		Example: `  gnomon count apps --by component
  gnomon count apps --by phase -l 'zone=east,!converged'
  gnomon count nodes --by label.zone`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			kind, err := parseKind(args[0])
			if err != nil {
				return err
			}
			query := url.Values{"kind": {string(kind)}, "limit": {strconv.Itoa(limit)}}
			if selector != "" {
				query.Set("selector", selector)
			}
			if by != "" {
				query.Set("by", by)
			}
			ctx, cancel := s.limited(c.Context())
			defer cancel()
			return s.count(ctx, c.OutOrStdout(), query)
		},
	}
	c.Flags().StringVarP(&selector, "selector", "l", "", selectorHelp)
	c.Flags().StringVar(&by, "by", "", "component, phase, site, error, kind or label.NAME; without it only the total")
	c.Flags().IntVar(&limit, "limit", 100, "groups to print, the largest first; the rest is other")
	return c
}

type group struct {
	Value     string `json:"value"`
	Count     int    `json:"count"`
	Converged int    `json:"converged"`
}

func (g group) row(name string) []string {
	return []string{name, strconv.Itoa(g.Count), strconv.Itoa(g.Converged), strconv.Itoa(g.Count - g.Converged)}
}

func (s *session) count(ctx context.Context, w io.Writer, query url.Values) error {
	raw, err := s.Raw(ctx, "/v1/counts?"+query.Encode())
	if err != nil {
		return err
	}
	if s.format != output.Table {
		return output.Write(w, s.format, raw)
	}
	var counts struct {
		Groups []group `json:"groups"`
		Other  *group  `json:"other"`
		Total  group   `json:"total"`
	}
	if err := json.Unmarshal(raw, &counts); err != nil {
		return err
	}
	var rows [][]string
	for _, g := range counts.Groups {
		rows = append(rows, g.row(g.Value))
	}
	if counts.Other != nil {
		rows = append(rows, counts.Other.row("(other)"))
	}
	rows = append(rows, counts.Total.row("(total)"))
	return output.Rows(w, []string{"VALUE", "COUNT", "CONVERGED", "PENDING"}, rows)
}
