package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/edge/local"
	"gnomon/edge/readings"
	"gnomon/schema/reading"
)

// asking are the flags of the commands that ask for readings.
type asking struct {
	options
	policy, meter string
	items         []string
	from, to      string
	limit         int
	next          string
}

func (o *asking) flags(c *cobra.Command, format string) {
	f := c.Flags()
	f.StringVar(&o.data, "data", "/var/lib/gnomon", "the agent's directory; or GNOMON_DATA in the environment")
	f.StringVarP(&o.output, "output", "o", "table", format)
	f.StringVar(&o.policy, "policy", "", "of this collection policy")
	f.StringVar(&o.meter, "meter", "", "of this meter")
	f.StringSliceVar(&o.items, "item", nil, "these items; default all")
	f.StringVar(&o.from, "from", "", "from this time on, as 2006-01-02T15:04:05Z, or so long ago, as 2h")
	f.StringVar(&o.to, "to", "", "before this time, or so long ago")
	f.IntVar(&o.limit, "limit", 0, fmt.Sprintf("rows; default and at most %d, of %d values", readings.MaxFound, readings.MaxFoundValues))
}

// query is what is asked for, as the agent takes it.
func (o *asking) query(now time.Time) (string, error) {
	v := url.Values{"item": o.items}
	for name, text := range map[string]string{"policy": o.policy, "meter": o.meter} {
		if text != "" {
			v.Set(name, text)
		}
	}
	for name, text := range map[string]string{"from": o.from, "to": o.to} {
		if text == "" {
			continue
		}
		if ago, err := time.ParseDuration(text); err == nil {
			text = now.Add(-ago).UTC().Format(time.RFC3339Nano)
		} else if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			return "", usageError{fmt.Errorf("--%s %q: must be a time such as 2006-01-02T15:04:05Z, or a duration such as 2h", name, text)}
		}
		v.Set(name, text)
	}
	if o.next != "" {
		v.Set("continue", o.next)
	}
	if o.limit != 0 {
		v.Set("limit", strconv.Itoa(o.limit))
	}
	return v.Encode(), nil
}

func readingsCommand() *cobra.Command {
	var o asking
	c := &cobra.Command{
		Use:   "readings",
		Short: "Show the readings that are kept on this node",
		Long: `Show the readings that are kept on this node, by time, policy and meter. They are
kept for the days that their policy says, and longer while the cloud lacks them.`,
		Example: "  gnomon-edge readings --policy hall --from 2h\n  gnomon-edge readings --policy hall --meter m-17 --item E -o csv\n  gnomon-edge readings gaps --policy hall",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.show(c) },
	}
	o.flags(c, "json, yaml, table or csv")
	c.Flags().StringVar(&o.next, "continue", "", "go on after an earlier list, as that said")
	c.AddCommand(gapsCommand())
	return c
}

func (o *asking) show(c *cobra.Command) error {
	asCSV := o.output == "csv"
	if asCSV {
		o.output = "table"
	}
	s, err := o.open(c)
	if err != nil {
		return err
	}
	query, err := o.query(time.Now())
	if err != nil {
		return err
	}
	var all local.Rows
	if err := s.Ask(c.Context(), http.MethodGet, "/v1/readings?"+query, nil, &all); err != nil {
		return err
	}
	switch {
	case asCSV:
		err = writeCSV(c.OutOrStdout(), all.Rows)
	case s.format != output.Table:
		return output.Write(c.OutOrStdout(), s.format, all)
	default:
		err = printReadings(c.OutOrStdout(), all.Rows)
	}
	if err == nil && all.More {
		fmt.Fprintf(c.ErrOrStderr(), "there are more: go on with --continue %s\n", all.Continue)
	}
	return err
}

// itemsOf are the items of rows, by name.
func itemsOf(rows []local.Row) []string {
	seen := make(map[string]bool)
	for _, r := range rows {
		for item := range r.Values {
			seen[item] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func cellOf(v local.Value) string {
	if v.Value != nil {
		return v.Value.String()
	}
	return v.Reason
}

func printReadings(w io.Writer, rows []local.Row) error {
	if len(rows) == 0 {
		fmt.Fprintln(w, "no such readings are kept here")
		return nil
	}
	items := itemsOf(rows)
	var out [][]string
	for _, r := range rows {
		line := []string{r.At.Format(time.RFC3339), r.Policy, r.Meter, r.Source.String()}
		for _, item := range items {
			line = append(line, cellOf(r.Values[item]))
		}
		out = append(out, line)
	}
	return output.Rows(w, append([]string{"AT", "POLICY", "METER", "SOURCE"}, items...), out)
}

// writeCSV writes a line for each value: reason is empty where value isn't.
func writeCSV(w io.Writer, rows []local.Row) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"at", "policy", "meter", "item", "value", "reason", "source", "arrived"}) // Error tells
	for _, r := range rows {
		for _, item := range slices.Sorted(maps.Keys(r.Values)) {
			v, number := r.Values[item], ""
			if v.Value != nil {
				number = v.Value.String()
			}
			_ = out.Write([]string{r.At.Format(time.RFC3339Nano), r.Policy, r.Meter, item, number, v.Reason, r.Source.String(), r.Arrived.Format(time.RFC3339Nano)})
		}
	}
	out.Flush()
	return out.Error()
}

func gapsCommand() *cobra.Command {
	var o asking
	c := &cobra.Command{
		Use:   "gaps --policy NAME",
		Short: "Show what a policy reads and is not there, of the last day or of some time",
		Long: `Show what a policy reads and is not there, of the last day or of some time: slot by
slot, with how often it was TRIED, by the policy as it is now. Of slots before the
policy was there all is missing, and nothing was tried.`,
		Example: "  gnomon-edge readings gaps --policy hall --from 48h",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			if o.policy == "" {
				return usageError{errors.New("--policy must be given")}
			}
			query, err := o.query(time.Now())
			if err != nil {
				return err
			}
			var all []local.Gap
			if err := s.Ask(c.Context(), http.MethodGet, "/v1/readings/gaps?"+query, nil, &all); err != nil {
				return err
			}
			if s.format != output.Table {
				return output.Write(c.OutOrStdout(), s.format, all)
			}
			if len(all) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "nothing is missing")
				return nil
			}
			rows := make([][]string, 0, len(all))
			for _, g := range all {
				rows = append(rows, []string{g.At.Format(time.RFC3339), g.Meter, strconv.Itoa(g.Tried), strings.Join(g.Items, ",")})
			}
			return output.Rows(c.OutOrStdout(), []string{"AT", "METER", "TRIED", "MISSING"}, rows)
		},
	}
	o.flags(c, "json, yaml or table")
	return c
}

func readCommand() *cobra.Command {
	var o asking
	var live bool
	var deadline time.Duration
	c := &cobra.Command{
		Use:   "read --policy NAME --meter ID",
		Short: "Show the latest of one meter, or with --live read it now",
		Long: `Show the latest that is kept of one meter. With --live it is read now, ahead of
what is read in cycles, and must answer before the deadline.`,
		Example: "  gnomon-edge read --policy hall --meter m-17\n  gnomon-edge read --policy hall --meter m-17 --item V,I --live --deadline 30s",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			req := reading.Read{ID: "local", Policy: o.policy, Meter: o.meter, Items: o.items, Live: live, Deadline: deadline.Milliseconds()}
			if err := req.Check(); err != nil {
				return usageError{err}
			}
			a := new(reading.Answer)
			if err := s.AskFor(c.Context(), deadline+10*time.Second, http.MethodPost, "/v1/readings/read", req, a); err != nil {
				return err
			}
			if s.format != output.Table {
				err = output.Write(c.OutOrStdout(), s.format, a)
			} else if len(a.Values) > 0 {
				err = printAnswer(c.OutOrStdout(), a)
			}
			if a.Error != nil {
				err = errors.Join(err, fmt.Errorf("%s: %s", a.Error.Code, a.Error.Message))
			}
			return err
		},
	}
	o.options.flags(c)
	f := c.Flags()
	f.StringVar(&o.policy, "policy", "", "the collection policy")
	f.StringVar(&o.meter, "meter", "", "the meter, by its ID in the policy")
	f.StringSliceVar(&o.items, "item", nil, "these items; default all")
	f.BoolVar(&live, "live", false, "read it now")
	f.DurationVar(&deadline, "deadline", 30*time.Second, "how long it may take, at most 10m")
	return c
}

func printAnswer(w io.Writer, a *reading.Answer) error {
	var rows [][]string
	for _, item := range slices.Sorted(maps.Keys(a.Values)) {
		v, text := a.Values[item], ""
		if v.Value != nil {
			text = v.Value.String()
		}
		rows = append(rows, []string{item, text, v.Reason, v.At.Format(time.RFC3339), v.Source.String()})
	}
	return output.Rows(w, []string{"ITEM", "VALUE", "MISSING", "AT", "SOURCE"}, rows)
}

// printKept says how the readings are kept and sent, if there are any.
func printKept(w io.Writer, s *local.Status) {
	k := s.Readings
	if k.Points == 0 && k.Fault == nil && k.SetAside == 0 {
		return
	}
	fmt.Fprintf(w, "readings: %d points kept in %d bytes of %d, the cloud lacks %d", k.Points, k.Bytes, k.Bound, k.Unsent)
	if !k.Oldest.IsZero() {
		fmt.Fprintf(w, ", the oldest since %s", k.Oldest.Format(time.RFC3339))
	}
	fmt.Fprintln(w)
	if k.Fault != nil {
		fmt.Fprintf(w, "readings are held in memory (%d bytes) since %s: %s: %s\n", k.Held, k.Fault.Since.UTC().Format(time.RFC3339), k.Fault.Code, k.Fault.Message)
	}
	if k.Dropped > 0 {
		fmt.Fprintf(w, "%d points were dropped before the cloud had them: there was no room\n", k.Dropped)
	}
	if k.Refused > 0 {
		why := ""
		if r := k.Refusal; r != nil {
			why = fmt.Sprintf("; the last of %s: %d %s", r.Policy, r.Code, r.Message)
		}
		fmt.Fprintf(w, "the cloud refuses %d points%s\n", k.Refused, why)
	}
	if k.SetAside > 0 {
		fmt.Fprintf(w, "%d files of readings did not check out and are set aside\n", k.SetAside)
	}
}
