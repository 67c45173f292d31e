package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/edge/local"
)

func (a *agent) status() local.Status {
	return local.Status{
		Node: a.cfg.Node, Agent: version, PID: os.Getpid(), BootEpoch: a.node.BootEpoch, StartedAt: a.node.StartedAt,
		Cloud: a.cfg.Cloud, Components: a.cfg.Components, Link: a.link.Status(), Upgrade: a.upgrade.Status(), Bus: a.bus.status(), Readings: a.readings.store.Status(), Upward: a.readings.sender.Status(), Status: a.loop.Status(),
		Usage: a.health.Usage(), Alarms: a.health.Alarms(), Readiness: a.health.Readiness(), Overrides: a.overrides.All(),
	}
}

func statusCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the node as its agent sees it; needs no cloud",
		Long: `Show the node as its agent sees it. Where no agent runs, show what its disk says,
with the processes there are; the exit status is 1 then.`,
		Example: "  gnomon-edge status --data /var/lib/gnomon -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			now := new(local.Status)
			missing := s.Ask(c.Context(), http.MethodGet, "/v1/status", nil, now)
			if missing != nil && !errors.Is(missing, local.ErrNoAgent) {
				return missing
			}
			if missing != nil {
				if now, err = local.FromDisk(o.data); err != nil {
					return err
				}
			}
			if s.format != output.Table {
				return errors.Join(output.Write(c.OutOrStdout(), s.format, now), missing)
			}
			return errors.Join(printStatus(c.OutOrStdout(), now), missing)
		},
	}
	o.flags(c)
	return c
}

func printStatus(w io.Writer, s *local.Status) error {
	if s.PID != 0 {
		printAgent(w, s)
	}
	rows := make([][]string, 0, len(s.Applications))
	for _, a := range s.Applications {
		rows = append(rows, []string{a.Name, a.Mode, a.Phase, pid(a.PID), strconv.Itoa(a.Restarts), versions(a.ObservedVersion, a.DesiredVersion), a.Plan.Trace, a.Why()})
	}
	if err := section(w, "applications", []string{"APPLICATION", "MODE", "PHASE", "PID", "RESTARTS", "VERSION", "TRACE", "WHY"}, rows); err != nil {
		return err
	}
	rows = rows[:0]
	for _, p := range s.Policies {
		rows = append(rows, []string{p.Name, p.Phase, strconv.FormatUint(p.Cycles, 10), fmt.Sprintf("%d/%d", p.Success, p.Meters), versions(p.ObservedVersion, p.DesiredVersion), p.Plan.Trace, p.Why()})
	}
	return section(w, "policies", []string{"POLICY", "PHASE", "CYCLES", "METERS READ", "VERSION", "TRACE", "WHY"}, rows)
}

func printAgent(w io.Writer, s *local.Status) {
	connection := "connected to " + s.Cloud
	if !s.Link.Connected {
		connection = "no connection to " + s.Cloud
		if s.Link.Problem != "" {
			connection += ": " + s.Link.Problem
		}
	}
	fmt.Fprintf(w, "%s: %s\n", s.Node, connection)
	fmt.Fprintf(w, "agent %s, pid %d, started %s, %d reports not yet taken by the cloud\n",
		s.Agent, s.PID, s.StartedAt.UTC().Format(time.RFC3339), len(s.Link.Pending))
	printBus(w, s.Bus)
	printKept(w, s)
	if u := s.Upgrade; u.Phase != "" {
		fmt.Fprintf(w, "upgrade from %s to %s: %s%s\n", u.From, u.To, u.Phase, u.Why())
	}
	for _, r := range s.Link.Refused {
		fmt.Fprintf(w, "the cloud refuses the report of %q: %s\n", r.Shadow, r.Message)
	}
	if n := s.Store.SetAside; n > 0 {
		fmt.Fprintf(w, "%d records on disk did not check out and are set aside: %s\n", n, strings.Join(s.Store.Records, ", "))
	}
	if e := s.Store.Error; e != nil {
		fmt.Fprintf(w, "nothing can be written since %s: %s: %s\n", e.At.UTC().Format(time.RFC3339), e.Code, e.Message)
	}
	for _, a := range s.Alarms {
		fmt.Fprintln(w, alarmLine(a))
	}
	printReadiness(w, s.Readiness)
	for _, o := range s.Overrides {
		fmt.Fprintf(w, "%s is %s\n", o.Name, o.Text())
	}
}

// section prints a table, or that there is nothing to be in it.
func section(w io.Writer, what string, header []string, rows [][]string) error {
	fmt.Fprintln(w)
	if len(rows) == 0 {
		fmt.Fprintln(w, "no", what)
		return nil
	}
	return output.Rows(w, header, rows)
}

// versions are the desired version that was acted on last, and the one that is
// wanted, if that is another.
func versions(observed, desired uint64) string {
	if observed == desired {
		return strconv.FormatUint(desired, 10)
	}
	return fmt.Sprintf("%d, wanted %d", observed, desired)
}

func pid(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
