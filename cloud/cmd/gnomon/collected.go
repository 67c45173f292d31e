package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gnomon/cli/output"
)

// collectedOf says of which readings something is asked.
type collectedOf struct {
	node, policy, selector, meter, item, from, to string
}

func (q *collectedOf) register(f *pflag.FlagSet) {
	f.StringVar(&q.node, "node", "", "only of this node")
	f.StringVar(&q.policy, "policy", "", "only of policies with this name")
	f.StringVarP(&q.selector, "selector", "l", "", "only of policies that are selected, such as site=s-7,zone=east")
	f.StringVar(&q.meter, "meter", "", "only of this meter")
	f.StringVar(&q.item, "item", "", "only this item")
	f.StringVar(&q.from, "from", "", "the time that values are of, from here on: 2026-11-21T00:00:00Z, or how long ago, such as 2h (default 24h)")
	f.StringVar(&q.to, "to", "", "and before this, likewise (default now)")
}

// query lays it out for the API.
func (q *collectedOf) query(now time.Time) (url.Values, error) {
	out := url.Values{}
	for name, text := range map[string]string{"node": q.node, "policy": q.policy, "selector": q.selector, "meter": q.meter, "item": q.item} {
		if text != "" {
			out.Set(name, text)
		}
	}
	for name, text := range map[string]string{"from": q.from, "to": q.to} {
		if text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, text)
		if ago, aerr := time.ParseDuration(text); aerr == nil {
			at, err = now.Add(-ago), nil
		}
		if err != nil {
			return nil, &usageError{fmt.Errorf("--%s %q: must be a time such as 2026-11-21T00:00:00Z, or how long ago, such as 2h", name, text)}
		}
		out.Set(name, at.UTC().Format(time.RFC3339Nano))
	}
	return out, nil
}

func readingsCommand(o *options) *cobra.Command {
	var of collectedOf
	var limit int
	c := &cobra.Command{
		Use:   "readings",
		Short: "Print collected readings, or export them to a file",
		Long: `Print collected readings that the cloud has: by node, policy, stretch of four
hours, meter and time. -o csv prints a value in each line. Of a replica that hands
readings to a sink there is nothing to print.`,
		Example: `  gnomon readings --node gw-1 --policy curve --meter 000000000001 --from 2h
  gnomon readings -l site=s-7 --item V1 -o csv
  gnomon readings export --format parquet --from 2026-11-01T00:00:00Z > november.parquet`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, asCSV, err := o.openCSV(c)
			if err != nil {
				return err
			}
			query, err := of.query(time.Now())
			if err != nil {
				return err
			}
			if asCSV {
				query.Set("format", "csv")
				return s.exportReadings(c.Context(), c.OutOrStdout(), query)
			}
			if limit < 1 {
				return &usageError{fmt.Errorf("--limit %d: must be at least 1", limit)}
			}
			return s.readings(c.Context(), c.OutOrStdout(), query, limit)
		},
	}
	of.register(c.Flags())
	c.Flags().IntVar(&limit, "limit", 1000, "rows to print; more are said to be there")
	export := exportReadingsCommand(o)
	wrapUsage(export)
	c.AddCommand(export)
	return c
}

func exportReadingsCommand(o *options) *cobra.Command {
	var of collectedOf
	format := "csv"
	c := &cobra.Command{
		Use: "export", Short: "Write readings to standard output as a file", Args: cobra.NoArgs,
		Long: `Write readings to standard output as a file: csv, parquet, ndjson, or influx (line
protocol). The exit status is 0 only if all of it has arrived.`,
		Example: "  gnomon readings export --format parquet --from 2026-11-01T00:00:00Z > november.parquet",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			query, err := of.query(time.Now())
			if err != nil {
				return err
			}
			query.Set("format", format)
			return s.exportReadings(c.Context(), c.OutOrStdout(), query)
		},
	}
	of.register(c.Flags())
	c.Flags().StringVar(&format, "format", format, "csv, parquet, ndjson or influx")
	return c
}

// openCSV is open for commands that print CSV, too.
func (o *options) openCSV(c *cobra.Command) (s *session, asCSV bool, err error) {
	if asCSV = o.format == "csv"; asCSV {
		o.format = string(output.Table)
	}
	s, err = o.open(c)
	return s, asCSV, err
}

func (s *session) exportReadings(ctx context.Context, w io.Writer, query url.Values) error {
	answer, err := s.Stream(ctx, "/v1/readings/export?"+query.Encode())
	if err != nil {
		return err
	}
	defer answer.Close()
	out := bufio.NewWriterSize(w, 64<<10)
	if n, err := io.Copy(out, answer); err != nil {
		return fmt.Errorf("cut off after %d bytes: %w", n, err)
	}
	return out.Flush()
}

// collectedRow is what one meter had at one time.
type collectedRow struct {
	Node   string                    `json:"node"`
	Policy string                    `json:"policy"`
	Meter  string                    `json:"meter"`
	At     time.Time                 `json:"at"`
	Values map[string]collectedValue `json:"values"`
}

type collectedValue struct {
	Value   json.Number `json:"value,omitempty"`
	Missing string      `json:"missing,omitempty"`
	Source  string      `json:"source"`
	Arrived time.Time   `json:"arrived"`
}

func (v collectedValue) text() string {
	if v.Missing != "" {
		return "(" + v.Missing + ")"
	}
	return v.Value.String()
}

// readings prints up to limit rows, asking part by part.
func (s *session) readings(ctx context.Context, w io.Writer, query url.Values, limit int) error {
	rows := []collectedRow{}
	more := false
	for {
		query.Set("limit", strconv.Itoa(min(5000, limit-len(rows))))
		var page struct {
			Items    []collectedRow `json:"items"`
			Continue string         `json:"continue"`
		}
		if err := s.one(ctx, "/v1/readings?"+query.Encode(), &page); err != nil {
			return err
		}
		rows = append(rows, page.Items...)
		if page.Continue == "" {
			break
		}
		if more = len(rows) >= limit; more {
			break
		}
		query.Set("continue", page.Continue)
	}
	if more {
		defer fmt.Fprintf(os.Stderr, "there are more than these %d rows: raise --limit, or ask for less\n", limit)
	}
	if s.format != output.Table {
		return output.Write(w, s.format, map[string]any{"items": rows})
	}
	var lines [][]string
	for _, r := range rows {
		for _, item := range sortedKeys(r.Values) {
			v := r.Values[item]
			lines = append(lines, []string{r.Node, r.Policy, r.Meter, r.At.Format(time.RFC3339), item, v.text(), v.Source, v.Arrived.Sub(r.At).Round(time.Second).String()})
		}
	}
	return output.Rows(w, []string{"NODE", "POLICY", "METER", "AT", "ITEM", "VALUE", "SOURCE", "ARRIVED AFTER"}, lines)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// one reads one answer within the time for a request.
func (s *session) one(ctx context.Context, path string, into any) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	raw, err := s.Raw(ctx, path)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// writeCSV writes lines under a head.
func writeCSV(w io.Writer, head []string, lines [][]string) error {
	out := csv.NewWriter(w)
	if err := out.Write(head); err != nil {
		return err
	}
	if err := out.WriteAll(lines); err != nil {
		return err
	}
	return out.Error()
}
