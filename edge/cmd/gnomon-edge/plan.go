package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/edge/local"
	"gnomon/edge/reconcile/loop"
	"gnomon/schema"
)

func planCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "plan",
		Short: "Say what the agent is about to do, and do nothing",
		Long: `Say what the agent is doing and will do, step by step, if nothing fails; those of
one round go on side by side. What would follow a change is told by --dry-run of
the command that makes it.`,
		Example: "  gnomon-edge plan\n  gnomon-edge stop web --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			plan := new(loop.DryRun)
			if err := s.Ask(c.Context(), http.MethodGet, "/v1/plan", nil, plan); err != nil {
				return err
			}
			return printPlan(c.OutOrStdout(), s.format, plan)
		},
	}
	o.flags(c)
	return c
}

func printPlan(w io.Writer, f output.Format, plan *loop.DryRun) error {
	if f != output.Table {
		return output.Write(w, f, plan)
	}
	if len(plan.Steps) == 0 {
		fmt.Fprintln(w, "nothing to do")
	} else if err := output.Rows(w, []string{"ROUND", "STEP", "APPLICATION", "AFTER", "WHY"}, stepRows(plan.Steps)); err != nil {
		return err
	}
	rows := make([][]string, 0, len(plan.Applications))
	for _, a := range plan.Applications {
		rows = append(rows, []string{a.Name, a.Phase, a.Why()})
	}
	return section(w, "applications then", []string{"APPLICATION", "PHASE THEN", "WHY"}, rows)
}

func stepRows(steps []loop.DryStep) [][]string {
	rows := make([][]string, 0, len(steps))
	for _, p := range steps {
		round, step, after := "under way", p.Step, ""
		if p.Round > 0 {
			round = strconv.Itoa(p.Round)
		}
		if p.Component != "" {
			step += " " + p.Component
		}
		if p.After > 0 {
			after = p.After.String()
		}
		rows = append(rows, []string{round, step, p.App, after, p.Reason})
	}
	return rows
}

func explainCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:     "explain NAME",
		Short:   "Say why an application is as it is, and what to do about it",
		Example: "  gnomon-edge explain web",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			var e explanation
			if err := s.Ask(c.Context(), http.MethodGet, "/v1/applications/"+args[0], nil, &e.Application); err != nil {
				return err
			}
			var plan loop.DryRun
			if err := s.Ask(c.Context(), http.MethodGet, "/v1/plan", nil, &plan); err != nil {
				return err
			}
			for _, p := range plan.Steps {
				if p.App == args[0] {
					e.Steps = append(e.Steps, p)
				}
			}
			e.Summary, e.Next = e.words()
			if s.format != output.Table {
				return output.Write(c.OutOrStdout(), s.format, e)
			}
			e.print(c.OutOrStdout())
			return nil
		},
	}
	o.flags(c)
	return c
}

// explanation is all that the node knows of one application.
type explanation struct {
	Summary string `json:"summary"`
	Next    string `json:"next,omitempty"`
	local.Application
	Steps []loop.DryStep `json:"steps"` // that come next, if nothing fails
}

// words say how it is and what to do.
func (e *explanation) words() (summary, next string) {
	name := e.Name
	switch {
	case e.Override != nil && e.Override.Kind == "removed":
		return e.Override.Text(), "gnomon-edge override clear " + name + " brings it back"
	case e.Error != nil:
		summary = fmt.Sprintf("%s: %s (%s)", e.Phase, e.Error.Message, e.Error.Code)
		next = "it is tried again by itself; gnomon-edge logs " + name + " --tail 20, and gnomon-edge restart " + name + " tries at once"
		if !e.Error.Retryable {
			next = "change what is wanted of it, here with gnomon-edge update " + name + ", or in the cloud"
		}
		return summary, next
	case len(e.Steps) > 0:
		return e.Phase + "; next: " + e.Steps[0].String(), "wait, and ask again"
	case slices.ContainsFunc(e.Blockers, func(b schema.Blocker) bool { return b.Code == schema.BlockedBeside }):
		return e.Phase + ": " + e.Why(), "change that, or set update.strategy to auto or stop-first: gnomon-edge update " + name + ", or in the cloud"
	case e.Why() != "":
		return e.Phase + ": " + e.Why(), "it goes on by itself once that has passed"
	case e.Override != nil && len(e.Override.Conflicts) > 0:
		return e.Phase + ", and not as the cloud desires now", "gnomon-edge override clear " + name + " lets the cloud's change apply"
	case e.Override != nil:
		return e.Phase + ", with an override", "gnomon-edge override clear " + name + " ends it"
	case e.ObservedVersion < e.DesiredVersion:
		return fmt.Sprintf("%s: desired version %d is not applied yet", e.Phase, e.DesiredVersion), "gnomon-edge plan says what comes next"
	}
	return fmt.Sprintf("%s, as desired version %d asks", e.Phase, e.DesiredVersion), ""
}

func (e *explanation) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", e.Name, e.Summary)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %-9s "+format+"\n", append([]any{what}, args...)...)
	}
	if e.Next != "" {
		line("next", "%s", e.Next)
	}
	if e.DesiredVersion > 0 {
		line("desired", "version %d, acted on %d", e.DesiredVersion, e.ObservedVersion)
	}
	if e.PID > 0 {
		line("runs", "pid %d, for %s, restarted %d times", e.PID, since(e.StartedAt), e.Restarts)
	}
	if b := e.Beside; b != nil {
		line("beside", "pid %d, %s for %s, to take over from it", b.PID, b.State, since(b.StartedAt))
	}
	if x := e.Exit; x != nil {
		line("ended", "with status %d %s at %s", x.Code, x.Signal, x.At.UTC().Format(time.RFC3339))
	}
	if o := e.Override; o != nil {
		line("override", "%s; %s left", o.Text(), o.Left)
		for _, p := range o.Paths {
			line("", "%s", p)
		}
		for _, p := range o.Conflicts {
			line("conflict", "%s: the cloud has changed it since", p)
		}
	}
	for _, p := range e.Steps {
		line("step", "%s", p)
	}
}
