package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gnomon/cli/output"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/cloud/readings"
	"gnomon/schema"
)

// kpis are what the API has.
type kpis struct {
	Policies     int     `json:"policies,omitempty"`
	Meters       int     `json:"meters"`
	Expected     int64   `json:"expected"`
	Stored       int64   `json:"stored"`
	Completeness float64 `json:"completeness"`
	FirstPass    float64 `json:"firstPass"`
	BackfillGain float64 `json:"backfillGain"`
	CycleSuccess float64 `json:"cycleSuccess"`
	FreshnessP95 float64 `json:"freshnessP95"`
	Missing      []struct {
		Reason string `json:"reason"`
		Count  int64  `json:"count"`
	} `json:"missing,omitempty"`
}

type completeness struct {
	Node    string `json:"node"`
	Policy  string `json:"policy"`
	Day     string `json:"day"`
	Zone    string `json:"zone"`
	From    string `json:"from"`
	To      string `json:"to"`
	Column  string `json:"column"`
	Columns int    `json:"columns"`
	Next    *struct {
		At     time.Time `json:"at"`
		Counts time.Time `json:"counts"`
	} `json:"next,omitempty"`
	Vague  bool `json:"vague,omitempty"`
	KPIs   kpis `json:"kpis"`
	Meters []struct {
		Meter    string           `json:"meter"`
		Expected int64            `json:"expected"`
		Stored   int64            `json:"stored"`
		Backfill int64            `json:"backfill,omitempty"`
		Cells    string           `json:"cells"`
		Missing  map[string]int64 `json:"missing,omitempty"`
	} `json:"meters"`
}

func completenessCommand(o *options) *cobra.Command {
	var node, day string
	var limit, width int
	c := &cobra.Command{
		Use:   "completeness POLICY --node NODE",
		Short: "Show of each meter and each slot of a day whether its values are there",
		Long: `Show of each meter of a policy and each slot of a day whether its values are
there: the worst meters first, a character for each slot, or for several where the
terminal is narrow, of which the worst is shown.

  #  all values are there        x  none is there, and the node said why
  b  all, some by back-fill      .  none is there, and nothing was said
  +  some are there                 (a space: nothing was to be read yet)

The day is one by the clock of the policy's zone. What is expected follows from
what was desired of the policy then. A slot counts when its cycle is over, or an
hour later, and the node has had its report.maxDelay to tell. -o csv prints a line
for each meter.`,
		Example: "  gnomon completeness curve --node gw-1\n  gnomon completeness curve --node gw-1 --day 2026-11-20 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, asCSV, err := o.openCSV(c)
			if err != nil {
				return err
			}
			switch {
			case node == "":
				return &usageError{errors.New("--node is needed: the node that has the policy; gnomon get policies -A lists them")}
			case limit < 1 || limit > 1000:
				return &usageError{fmt.Errorf("--limit %d: must be from 1 to 1000", limit)}
			}
			query := url.Values{"node": {node}, "policy": {args[0]}, "limit": {strconv.Itoa(limit)}}
			if day != "" {
				query.Set("day", day)
			}
			var m completeness
			if err := s.one(c.Context(), "/v1/completeness?"+query.Encode(), &m); err != nil {
				return err
			}
			if m.KPIs.Meters == 0 {
				if err := s.there(c.Context(), client.Ref{Kind: schema.KindPolicy, Node: node, Name: args[0]}); err != nil {
					return err
				}
			}
			switch {
			case asCSV:
				return m.csv(c.OutOrStdout())
			case s.format != output.Table:
				return output.Write(c.OutOrStdout(), s.format, m)
			}
			if width == 0 {
				width = terminalWidth(c.OutOrStdout())
			}
			return m.picture(c.OutOrStdout(), width, time.Now())
		},
	}
	f := c.Flags()
	f.StringVar(&node, "node", "", "the node")
	f.StringVar(&day, "day", "", "such as 2026-11-21, by the clock of the policy's zone (default today, by that clock)")
	f.IntVar(&limit, "limit", 30, "meters to show, the worst first")
	f.IntVar(&width, "width", 0, "characters in a line (default that of the terminal, 132 without one)")
	return c
}

// there says of a policy that isn't that it isn't.
func (s *session) there(ctx context.Context, policy client.Ref) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.Get(ctx, policy)
	if answer := (*client.Error)(nil); errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		answer.Detail = fmt.Sprintf("%s has no policy %s; gnomon get policies %s lists those it has", policy.Node, policy.Name, policy.Node)
	}
	return err
}

func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 132
}

func (m *completeness) csv(w io.Writer) error {
	lines := make([][]string, 0, len(m.Meters))
	for _, r := range m.Meters {
		lines = append(lines, []string{m.Node, m.Policy, m.Day, r.Meter, strconv.FormatInt(r.Expected, 10), strconv.FormatInt(r.Stored, 10), strconv.FormatInt(r.Backfill, 10), r.Cells})
	}
	return writeCSV(w, []string{"node", "policy", "day", "meter", "expected", "stored", "backfill", "cells"}, lines)
}

// picture draws the part of the matrix in which something was to be read, within
// some width, or says why there is none.
func (m *completeness) picture(w io.Writer, width int, now time.Time) error {
	if m.KPIs.Expected == 0 {
		_, err := fmt.Fprintf(w, "%s of %s on %s (UTC%s)\n%s\n", m.Policy, m.Node, m.Day, m.Zone, m.nothing(now))
		return err
	}
	name := len("METER")
	for _, r := range m.Meters {
		name = max(name, len(r.Meter))
	}
	first, last := m.extent()
	room := max(8, width-name-len("  100.0%  ")-2)
	per := max(1, (last-first+room-1)/room) // slots in a character
	var out strings.Builder
	fmt.Fprintf(&out, "%s of %s on %s (UTC%s), %s to a character\n", m.Policy, m.Node, m.Day, m.Zone, m.perCharacter(per))
	if m.Vague {
		out.WriteString("the history of the policy doesn't go back to this day: what is expected is taken from the oldest version that is known\n")
	}
	if len(m.Meters) > 0 {
		fmt.Fprintf(&out, "%-*s          %s\n", name, "METER", m.ruler(first, last, per))
	}
	for _, r := range m.Meters {
		fmt.Fprintf(&out, "%-*s  %6s  %s\n", name, r.Meter, percentOf(r.Stored, r.Expected), grouped(r.Cells[first:last], per))
	}
	if more := m.KPIs.Meters - len(m.Meters); more > 0 {
		fmt.Fprintf(&out, "… and %d more meters that are no worse (--limit)\n", more)
	}
	m.KPIs.print(&out)
	if len(m.KPIs.Missing) == 1 && m.KPIs.Missing[0].Count == m.KPIs.Expected && m.KPIs.Missing[0].Reason == readings.NotTold {
		fmt.Fprintf(&out, "%s has told nothing of it yet: gnomon explain policy %s/%s says how far it is\n", m.Node, m.Node, m.Policy)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// nothing says why no slot counts.
func (m *completeness) nothing(now time.Time) string {
	switch {
	case m.KPIs.Meters == 0:
		return "nothing was to be read: the policy wasn't there on this day, or it is disabled"
	case m.Next == nil:
		return "nothing was to be read: the policy has no slot on this day"
	}
	at := m.Next.At
	if zone, err := time.Parse("-07:00", m.Zone); err == nil {
		at = at.In(zone.Location())
	}
	return fmt.Sprintf("nothing counts yet: the first slot is that of %s; it counts in %s, when its cycle is over and %s has had the time to tell",
		at.Format(time.TimeOnly), max(m.Next.Counts.Sub(now), time.Second).Round(time.Second), m.Node)
}

// extent is where the columns begin and end in which something was to be read.
func (m *completeness) extent() (first, last int) {
	first = m.Columns
	for _, r := range m.Meters {
		if at := len(r.Cells) - len(strings.TrimLeft(r.Cells, " ")); at < len(r.Cells) {
			first = min(first, at)
		}
		last = max(last, len(strings.TrimRight(r.Cells, " ")))
	}
	return min(first, last), last
}

func (m *completeness) perCharacter(per int) string {
	d, err := time.ParseDuration(m.Column)
	if err != nil {
		return m.Column
	}
	text := (d * time.Duration(per)).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// ruler says above the cells when they are.
func (m *completeness) ruler(first, last, per int) string {
	column, err := time.ParseDuration(m.Column)
	if err != nil {
		return ""
	}
	var line strings.Builder
	for at := first; at < last; {
		clock := time.Time{}.Add(time.Duration(at) * column).Format("15:04")
		gap := 12 - len(clock)
		line.WriteString(clock)
		line.WriteString(strings.Repeat(" ", gap))
		at += 12 * per
	}
	return strings.TrimRight(line.String(), " ")
}

// worst orders cells from the worst to the best.
const worst = ".x+b# "

// grouped makes one character of several cells: the worst of them.
func grouped(cells string, per int) string {
	if per == 1 {
		return strings.TrimRight(cells, " ")
	}
	var out strings.Builder
	for ; len(cells) > 0; cells = cells[min(per, len(cells)):] {
		part := cells[:min(per, len(cells))]
		out.WriteByte(part[0])
		for _, c := range worst {
			if strings.ContainsRune(part, c) {
				text := out.String()
				out.Reset()
				out.WriteString(text[:len(text)-1] + string(c))
				break
			}
		}
	}
	return strings.TrimRight(out.String(), " ")
}

func percentOf(part, all int64) string {
	if all == 0 {
		return "-"
	}
	return percent(float64(part) / float64(all))
}

// percent shows 100 only for all.
func percent(share float64) string {
	p := 100 * share
	if p < 100 && p > 99.9 {
		p = 99.9
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + "%"
}

func (k *kpis) print(w io.Writer) {
	if k.Expected == 0 {
		fmt.Fprintln(w, "points     none was to be read yet")
		return
	}
	fmt.Fprintf(w, "points     %s of %d (%d of %d meters by slots by items)\n", percent(k.Completeness), k.Expected, k.Stored, k.Expected)
	fmt.Fprintf(w, "first pass %s, back-fill +%s; cycles complete in time %s\n", percent(k.FirstPass), percent(k.BackfillGain), percent(k.CycleSuccess))
	if k.Stored > 0 {
		fmt.Fprintf(w, "freshness  95 of 100 values stored within %s\n", time.Duration(k.FreshnessP95*float64(time.Second)).Round(100*time.Millisecond))
	}
	if len(k.Missing) > 0 {
		reasons := make([]string, 0, len(k.Missing))
		for _, r := range k.Missing {
			reasons = append(reasons, fmt.Sprintf("%s %d", r.Reason, r.Count))
		}
		fmt.Fprintf(w, "missing    %s\n", strings.Join(reasons, ", "))
	}
}

func kpisCommand(o *options) *cobra.Command {
	var of collectedOf
	var day string
	c := &cobra.Command{
		Use:   "kpis",
		Short: "Say how well collection went on a day: of a policy, a node, a site, or all",
		Long: `Say how well collection went on a day: of a policy of a node, of a node, of what a
selector selects, or of all policies; each by the day of its own zone.`,
		Example: "  gnomon kpis -l site=s-7 --day 2026-11-20\n  gnomon kpis --node gw-1 --policy curve\n  gnomon kpis -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			query, err := of.query(time.Now())
			if err != nil {
				return err
			}
			if day != "" {
				query.Set("day", day)
			}
			return s.kpis(c.Context(), c.OutOrStdout(), query)
		},
	}
	f := c.Flags()
	f.StringVar(&of.node, "node", "", "only of this node")
	f.StringVar(&of.policy, "policy", "", "only of policies with this name")
	f.StringVarP(&of.selector, "selector", "l", "", "only of policies that are selected, such as site=s-7,zone=east")
	f.StringVar(&day, "day", "", "such as 2026-11-21 (default today)")
	return c
}

func (s *session) kpis(ctx context.Context, w io.Writer, query url.Values) error {
	var k kpis
	if err := s.one(ctx, "/v1/kpis?"+query.Encode(), &k); err != nil {
		return err
	}
	if s.format != output.Table {
		return output.Write(w, s.format, k)
	}
	fmt.Fprintf(w, "policies   %d, with %d meters\n", k.Policies, k.Meters)
	k.print(w)
	return nil
}
