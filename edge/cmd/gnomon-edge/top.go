package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/edge/health/usage"
)

func topCommand() *cobra.Command {
	var o options
	once, every := false, 2*time.Second
	c := &cobra.Command{
		Use:   "top",
		Short: "Show what the node and its applications use: CPU, memory, disk, network",
		Long: `Show what the node and its applications use, again and again until Ctrl-C. NET is
told of containers that have a network of their own; the others share the node's.`,
		Example: "  gnomon-edge top\n  gnomon-edge top --once -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			if every < 500*time.Millisecond {
				return usageError{fmt.Errorf("--every %s: must be at least 500ms", every)}
			}
			if once || s.format != output.Table {
				return s.top(c.Context(), c.OutOrStdout())
			}
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				fmt.Fprint(c.OutOrStdout(), "\x1b[H\x1b[2J") // to the upper left, and clear
				if err := s.top(c.Context(), c.OutOrStdout()); err != nil {
					return err
				}
				select {
				case <-c.Context().Done():
					return nil
				case <-tick.C:
				}
			}
		},
	}
	o.flags(c)
	c.Flags().BoolVar(&once, "once", once, "show it once and end")
	c.Flags().DurationVar(&every, "every", every, "how often it is shown")
	return c
}

func (s *session) top(ctx context.Context, w io.Writer) error {
	var now usage.Snapshot
	if err := s.Ask(ctx, http.MethodGet, "/v1/usage", nil, &now); err != nil {
		return err
	}
	if s.format != output.Table {
		return output.Write(w, s.format, now)
	}
	n := now.Node
	fmt.Fprintf(w, "%s\n\n", now.At.Local().Format("15:04:05"))
	rows := [][]string{{"(node)", cores(n.CPU, n.Settled), amount(n.Memory), strconv.FormatInt(n.Pids, 10), "", rate(n.Read, n.Settled), rate(n.Written, n.Settled), rate(n.In, n.Settled), rate(n.Out, n.Settled)}}
	for _, name := range slices.Sorted(maps.Keys(now.Applications)) {
		rows = append(rows, usageRow(name, now.Applications[name]))
	}
	if err := output.Rows(w, []string{"APPLICATION", "CPU", "MEMORY", "PIDS", "DISK", "READ/S", "WRITTEN/S", "NET IN/S", "NET OUT/S"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	rows = rows[:0]
	for _, f := range n.FileSystems {
		rows = append(rows, []string{f.Path, amount(f.Size), amount(f.Used), strconv.Itoa(int(f.Fraction()*100)) + "%"})
	}
	return output.Rows(w, []string{"FILE SYSTEM OF", "SIZE", "USED", ""}, rows)
}

func usageRow(name string, a usage.Application) []string {
	row := []string{name, "", "", "", "", "", "", "", ""}
	if a.Disk != nil {
		row[4] = amount(a.Disk.Total())
	}
	if !a.Running {
		return row
	}
	row[1], row[2], row[3] = cores(a.CPU, a.Settled), amount(a.Memory), strconv.FormatInt(a.Pids, 10)
	row[5], row[6] = rate(a.Read, a.Settled), rate(a.Written, a.Settled)
	if a.Network {
		row[7], row[8] = rate(a.In, a.Settled), rate(a.Out, a.Settled)
	}
	return row
}

func cores(c float64, known bool) string {
	if !known {
		return ""
	}
	return strconv.Itoa(int(c*1000)) + "m"
}

func rate(bytes float64, known bool) string {
	if !known {
		return ""
	}
	return amount(int64(bytes))
}

// amount is a number of bytes as people read it.
func amount(n int64) string {
	for _, u := range []struct {
		size   int64
		suffix string
	}{{1 << 40, "Ti"}, {1 << 30, "Gi"}, {1 << 20, "Mi"}, {1 << 10, "Ki"}} {
		if n >= u.size {
			return strconv.FormatFloat(float64(n)/float64(u.size), 'f', 1, 64) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}
