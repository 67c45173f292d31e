package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/edge/override"
)

func overrideCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "override", Aliases: []string{"overrides"},
		Short: "Show and end what was changed on this node for a time", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(overrideListCommand(), overrideShowCommand(), overrideClearCommand())
	return c
}

func overrideListCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "list", Short: "List the overrides in force", Example: "  gnomon-edge override list", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			var all []override.Told
			if err := s.Ask(c.Context(), http.MethodGet, "/v1/overrides", nil, &all); err != nil {
				return err
			}
			if s.format != output.Table {
				return output.Write(c.OutOrStdout(), s.format, all)
			}
			if len(all) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "no overrides: everything is as the cloud desires")
				return nil
			}
			rows := make([][]string, 0, len(all))
			for _, t := range all {
				rows = append(rows, []string{t.Name, string(t.Kind), t.By, t.Left.String(), t.Until.UTC().Format(time.RFC3339), list(t.Paths), list(t.Conflicts), t.Reason})
			}
			return output.Rows(c.OutOrStdout(), []string{"APPLICATION", "KIND", "BY", "LEFT", "UNTIL", "PATHS", "CONFLICTS", "REASON"}, rows)
		},
	}
	o.flags(c)
	return c
}

// list is as much of a list as fits a line.
func list(all []string) string {
	const most = 3
	if len(all) > most {
		return strings.Join(all[:most], ",") + ",…"
	}
	return strings.Join(all, ",")
}

func overrideShowCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "show NAME", Short: "Show the override of an application, and what it changes",
		Example: "  gnomon-edge override show web", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			var t override.Told
			if err := s.Ask(c.Context(), http.MethodGet, "/v1/overrides/"+args[0], nil, &t); err != nil {
				return err
			}
			if s.format != output.Table {
				return output.Write(c.OutOrStdout(), s.format, t)
			}
			return printOverride(c.OutOrStdout(), t)
		},
	}
	o.flags(c)
	return c
}

func printOverride(w io.Writer, t override.Told) error {
	fmt.Fprintf(w, "%s is %s\n", t.Name, t.Text())
	fmt.Fprintf(w, "  since      %s, %s left\n", t.At.UTC().Format(time.RFC3339), t.Left)
	if t.Base > 0 {
		fmt.Fprintf(w, "  over       desired version %d\n", t.Base)
	}
	for _, p := range t.Paths {
		fmt.Fprintf(w, "  overrides  %s\n", p)
	}
	for _, p := range t.Conflicts {
		fmt.Fprintf(w, "  conflict   %s: the cloud has changed it since; that applies when the override ends\n", p)
	}
	if t.Value == nil {
		return nil
	}
	fmt.Fprintln(w)
	return output.Write(w, output.YAML, t.Value)
}

func overrideClearCommand() *cobra.Command {
	var o changing
	c := &cobra.Command{
		Use: "clear NAME", Short: "End the override of an application now; what was installed on the node goes",
		Example: "  gnomon-edge override clear web", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			if err := s.Ask(c.Context(), http.MethodDelete, "/v1/overrides/"+args[0], nil, nil); err != nil {
				return err
			}
			if o.wait {
				if err := s.await(c.Context(), c.ErrOrStderr(), args[0]); err != nil {
					return err
				}
			}
			if s.format != output.Table {
				return output.Write(c.OutOrStdout(), s.format, struct{}{})
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: override ended\n", args[0])
			return nil
		},
	}
	o.options.flags(c)
	c.Flags().BoolVar(&o.wait, "wait", true, "wait until it is as the cloud desires")
	return c
}
