package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/edge/local"
	"gnomon/schema"
)

func listCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "list", Aliases: []string{"ls"},
		Short:   "List the applications of this node, those installed on it included",
		Example: "  gnomon-edge list\n  gnomon-edge list -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			var all []local.Application
			if err := s.Ask(c.Context(), http.MethodGet, "/v1/applications", nil, &all); err != nil {
				return err
			}
			if s.format != output.Table {
				return output.Write(c.OutOrStdout(), s.format, all)
			}
			return printApplications(c.OutOrStdout(), all)
		},
	}
	o.flags(c)
	return c
}

func getCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:     "get NAME",
		Short:   "Show one application: how it is, what the cloud desires, what is wanted on the node",
		Example: "  gnomon-edge get web -o yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			var a local.Application
			if err := s.Ask(c.Context(), http.MethodGet, "/v1/applications/"+args[0], nil, &a); err != nil {
				return err
			}
			if s.format != output.Table {
				return output.Write(c.OutOrStdout(), s.format, a)
			}
			return printApplications(c.OutOrStdout(), []local.Application{a})
		},
	}
	o.flags(c)
	return c
}

func printApplications(w io.Writer, all []local.Application) error {
	if len(all) == 0 {
		fmt.Fprintln(w, "no applications; gnomon-edge install -f app.yaml installs one")
		return nil
	}
	rows := make([][]string, 0, len(all))
	for _, a := range all {
		rows = append(rows, []string{
			a.Name, a.Mode, a.Component, a.Phase, pid(a.PID), strconv.Itoa(a.Restarts), since(a.StartedAt), overridden(a), a.Why(),
		})
	}
	return output.Rows(w, []string{"APPLICATION", "MODE", "COMPONENT", "PHASE", "PID", "RESTARTS", "UP", "OVERRIDE", "WHY"}, rows)
}

// overridden says in few words what somebody on the node made of an application.
func overridden(a local.Application) string {
	o := a.Override
	if o == nil {
		return ""
	}
	text := string(o.Kind)
	if len(o.Paths) > 0 && o.Kind == schema.OverrideChanged {
		text = strings.Join(o.Paths[:min(2, len(o.Paths))], ",")
		if len(o.Paths) > 2 {
			text += ",…"
		}
	}
	if len(o.Conflicts) > 0 {
		text += " (conflict)"
	}
	return text + ", " + o.Left.String() + " left"
}

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return short(time.Since(t))
}

// short is a duration as people say it.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + "d"
}
