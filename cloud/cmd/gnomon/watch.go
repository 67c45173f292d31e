package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/schema"
)

func watchCommand(o *options) *cobra.Command {
	var after, selector string
	c := &cobra.Command{
		Use:   "watch [NODE]",
		Short: "Follow changes as they happen, until interrupted",
		Long: `Follow changes as they happen, until interrupted. A connection that breaks is
opened again and goes on where it was; if the events in between are no longer
kept, a line on standard error says so.`,
		Example: "  gnomon watch\n  gnomon watch edge-1 -o json\n  gnomon watch -l 'site=s1,phase=failed'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			query := url.Values{}
			if len(args) == 1 {
				query.Set("thing", args[0])
			}
			if selector != "" {
				query.Set("selector", selector)
			}
			return s.watch(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), watching{after, query})
		},
	}
	c.Flags().StringVarP(&selector, "selector", "l", "", "only what is selected after its change, such as zone=east,phase=failed; no pendingFor, desired and reported")
	c.Flags().StringVar(&after, "after", "", "resume after the event with this id")
	return c
}

type watching struct {
	after string
	query url.Values
}

func (s *session) watch(ctx context.Context, w, notes io.Writer, from watching) error {
	connected := false
	for {
		next, err := s.Events(ctx, from.after, from.query, func(e client.Event) error {
			connected = true
			return s.printEvent(w, e)
		})
		from.after = next
		var answer *client.Error
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &answer) && answer.Status == http.StatusGone:
			fmt.Fprintln(notes, "gnomon: some events are no longer kept; going on from now. What is true now: gnomon get")
			from.after = ""
		case errors.As(err, &answer):
			return err
		case err != nil && !connected && from.after == "":
			return err // never reached: a mistake, more likely than a pause
		}
		connected = true
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *session) printEvent(w io.Writer, e client.Event) error {
	if s.format == output.JSON {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, string(line)) // one event a line, for programs
		return err
	}
	if s.format == output.YAML {
		fmt.Fprintln(w, "---")
		return output.Write(w, output.YAML, e)
	}
	kind, name := schema.KindOf(e.Shadow)
	what := string(kind) + " " + e.Thing
	if name != "" {
		what += "/" + name
	}
	var notes []string
	if e.Desired {
		notes = append(notes, "desired")
	}
	if e.Reported {
		notes = append(notes, "reported")
	}
	if e.Kind == "deleted" {
		notes = append(notes, "deleted")
	}
	if e.Phase != "" {
		notes = append(notes, e.Phase)
	}
	if e.Converged && e.Kind != "deleted" {
		notes = append(notes, "converged")
	}
	_, err := fmt.Fprintf(w, "%s  %-32s v%-5d %s\n", time.Unix(e.Timestamp, 0).Format("15:04:05"), what, e.Version, strings.Join(notes, ", "))
	return err
}
