package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/edge/local"
	"gnomon/edge/reconcile/loop"
	"gnomon/schema"
)

// leases is what every changing command says of how long its change holds.
const leases = `

The change holds for a time (--for), survives restarts of the agent and of the node,
is told to the cloud, and yields when it ends. A further change goes into the same
override. gnomon-edge override clear NAME ends it at once.`

func startCommand() *cobra.Command {
	return stateCommand("start", schema.StateRunning, "Start an application that is stopped", "  gnomon-edge start web --for 4h")
}

func stopCommand() *cobra.Command {
	return stateCommand("stop", schema.StateStopped, "Stop an application for a time", `  gnomon-edge stop web --for 30m --reason "meter is being changed"`)
}

func stateCommand(verb string, state schema.RunState, short, example string) *cobra.Command {
	var o changing
	c := &cobra.Command{
		Use: verb + " NAME", Short: short, Long: short + "." + leases, Example: example, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return o.patch(c, args[0], map[string]any{"state": state})
		},
	}
	o.flags(c)
	return c
}

// patch sends a merge patch over what is wanted of an application.
func (o *changing) patch(c *cobra.Command, name string, patch map[string]any) error {
	text, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	change := o.change()
	change.Patch = text
	return o.send(c, http.MethodPatch, name, change)
}

// send sends a change and waits for what comes of it.
func (o *changing) send(c *cobra.Command, method, name string, change local.Change, headers ...string) error {
	s, err := o.open(c)
	if err != nil {
		return err
	}
	var out local.Outcome
	if err := s.Ask(c.Context(), method, "/v1/applications/"+name, change, &out, headers...); err != nil {
		return err
	}
	if o.dry {
		return printPlan(c.OutOrStdout(), s.format, out.Plan)
	}
	if o.wait {
		if err := s.await(c.Context(), c.ErrOrStderr(), name); err != nil {
			return err
		}
	}
	if s.format != output.Table {
		return output.Write(c.OutOrStdout(), s.format, out)
	}
	switch {
	case out.Override == nil && method == http.MethodDelete:
		fmt.Fprintf(c.OutOrStdout(), "%s is gone from the node\n", name)
		return nil
	case out.Override == nil:
		fmt.Fprintf(c.OutOrStdout(), "%s: no override is in force: it is as the cloud desires\n", name)
		return nil
	}
	fmt.Fprintf(c.OutOrStdout(), "%s is %s (%s left)\n", name, out.Override.Text(), out.Override.Left)
	return nil
}

// lookAgain is how often an application that is waited for is looked at.
const lookAgain = 200 * time.Millisecond

// patienceWaiting is how long one is waited for that tries again and again.
const patienceWaiting = 5 * time.Minute

// await waits until nothing is left to be done about an application, and tells
// what happens meanwhile.
func (s *session) await(ctx context.Context, w io.Writer, name string) error {
	began, last := time.Now(), ""
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		var plan loop.DryRun
		if err := s.Ask(ctx, http.MethodGet, "/v1/plan", nil, &plan); err != nil {
			return err
		}
		a, there, err := s.application(ctx, name)
		if err != nil {
			return err
		}
		busy := slices.ContainsFunc(plan.Steps, func(p loop.DryStep) bool { return p.App == name })
		text := progressOf(a, there)
		if text != last {
			fmt.Fprintf(w, "%6.1fs  %s\n", time.Since(began).Seconds(), text)
			last = text
		}
		switch {
		case !there && !busy, there && !busy && settledPhases[a.Phase] && a.Error == nil:
			return nil
		case there && a.Error != nil && (a.Phase == "backoff" || !busy), time.Since(began) > patienceWaiting:
			return fmt.Errorf("%s; gnomon-edge explain %s says what to do", text, name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// settledPhases are those in which nothing more happens by itself.
var settledPhases = map[string]bool{"running": true, "stopped": true}

// application is one as it is, if it is there: what is uninstalled for a time isn't.
func (s *session) application(ctx context.Context, name string) (a local.Application, there bool, err error) {
	err = s.Ask(ctx, http.MethodGet, "/v1/applications/"+name, nil, &a)
	var refused *local.Problem
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return a, false, nil
	}
	return a, err == nil && a.Phase != local.Uninstalled, err
}

func progressOf(a local.Application, there bool) string {
	switch {
	case !there:
		return "gone"
	case a.Why() != "":
		return a.Phase + ": " + a.Why()
	}
	return a.Phase
}

func restartCommand() *cobra.Command {
	var o options
	wait := true
	c := &cobra.Command{
		Use:   "restart NAME",
		Short: "Replace the running instance of an application by another just like it",
		Long: `Replace the running instance of an application by another just like it, and what
is attached to it. One that has failed, or waits for its next try, is started at
once. Nothing is overridden by that.`,
		Example: "  gnomon-edge restart web",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			name := args[0]
			var before, after local.Application
			if err := s.Ask(c.Context(), http.MethodGet, "/v1/applications/"+name, nil, &before); err != nil {
				return err
			}
			if err := s.Ask(c.Context(), http.MethodPost, "/v1/applications/"+name+"/restart", nil, nil); err != nil {
				return err
			}
			if !wait {
				return nil
			}
			if err := s.await(c.Context(), c.ErrOrStderr(), name); err != nil {
				return err
			}
			if err := s.Ask(c.Context(), http.MethodGet, "/v1/applications/"+name, nil, &after); err != nil {
				return err
			}
			if s.format != output.Table {
				return output.Write(c.OutOrStdout(), s.format, after)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s restarted: pid %d, was %d\n", name, after.PID, before.PID)
			return nil
		},
	}
	o.flags(c)
	c.Flags().BoolVar(&wait, "wait", wait, "wait until it runs again, or has failed")
	return c
}

func uninstallCommand() *cobra.Command {
	var o changing
	c := &cobra.Command{
		Use:   "uninstall NAME",
		Short: "Take an application off the node, with its data",
		Long: `Take an application off the node, with its data; the log stays. One that was
installed on the node is gone for good. One of the cloud's comes back when the
override ends, as if it were new.` + leases,
		Example: "  gnomon-edge uninstall web --for 24h",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return o.send(c, http.MethodDelete, args[0], o.change())
		},
	}
	o.flags(c)
	return c
}

func setCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "set", Short: "Change resources or environment of an application for a time", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(setResourcesCommand(), setEnvCommand())
	return c
}

func setResourcesCommand() *cobra.Command {
	var o changing
	var cpu, memory string
	var pids int64
	c := &cobra.Command{
		Use:     "resources NAME",
		Short:   "Change how much an application may use, for a time",
		Long:    "Change how much an application may use, for a time. 0 is no limit." + leases,
		Example: `  gnomon-edge set resources web --memory 128Mi --cpu 500m --for 2h --reason "runs out of memory"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			resources := map[string]any{}
			for name, v := range map[string]any{"cpu": cpu, "memory": memory, "pids": pids} {
				if c.Flags().Changed(name) {
					resources[name] = v
				}
			}
			if len(resources) == 0 {
				return usageError{errors.New("nothing to set: give --cpu, --memory or --pids")}
			}
			return o.patch(c, args[0], map[string]any{"run": map[string]any{"resources": resources}})
		},
	}
	o.flags(c)
	c.Flags().StringVar(&cpu, "cpu", "", "processor time, such as 500m or 1.5")
	c.Flags().StringVar(&memory, "memory", "", "memory, such as 64Mi")
	c.Flags().Int64Var(&pids, "pids", 0, "processes and threads")
	return c
}

func setEnvCommand() *cobra.Command {
	var o changing
	c := &cobra.Command{
		Use:     "env NAME KEY=VALUE|KEY-...",
		Short:   "Change the environment of an application for a time; KEY- removes a variable",
		Long:    "Change the environment of an application for a time; KEY- removes a variable." + leases,
		Example: "  gnomon-edge set env web LOG_LEVEL=debug PROXY- --for 1h",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			env := map[string]any{}
			for _, a := range args[1:] {
				key, value, set := strings.Cut(a, "=")
				switch {
				case set && key != "":
					env[key] = value
				case strings.HasSuffix(a, "-") && len(a) > 1:
					env[strings.TrimSuffix(a, "-")] = nil
				default:
					return usageError{fmt.Errorf("%q: must be KEY=VALUE, or KEY- to remove it", a)}
				}
			}
			return o.patch(c, args[0], map[string]any{"run": map[string]any{"env": env}})
		},
	}
	o.flags(c)
	return c
}
