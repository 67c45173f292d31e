package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gnomon/edge/local"
	"gnomon/schema"
)

func logsCommand() *cobra.Command {
	var o options
	var q local.LogQuery
	var since time.Duration
	c := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what an application wrote, with or without an agent",
		Long: `Print what an application wrote to its standard output and standard error.

Lines have no time of their own. The agent notes every 5 s how much there is, so
--since is as exact as that for what was written since the agent started; of
what is older whole files are printed or left out.`,
		Example: "  gnomon-edge logs web --tail 100 -f\n  gnomon-edge logs web --since 10m",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			if !schema.ValidName(args[0]) {
				return usageError{fmt.Errorf("NAME %q: must be %s", args[0], schema.NameRule)}
			}
			if since > 0 {
				q.Since = time.Now().Add(-since)
			}
			return s.log(c.Context(), c.OutOrStdout(), args[0], q)
		},
	}
	c.Flags().StringVar(&o.data, "data", "/var/lib/gnomon", "the agent's directory; or GNOMON_DATA in the environment")
	o.output = "table"
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "print what is written from now on, too")
	c.Flags().IntVar(&q.Tail, "tail", -1, "only the last lines")
	c.Flags().DurationVar(&since, "since", 0, "only what was written within this time")
	return c
}

// log asks the agent, which knows when what was written, or else the disk.
func (s *session) log(ctx context.Context, w io.Writer, name string, q local.LogQuery) error {
	values := url.Values{"tail": {strconv.Itoa(q.Tail)}, "follow": {strconv.FormatBool(q.Follow)}}
	if !q.Since.IsZero() {
		values.Set("since", q.Since.Format(time.RFC3339))
	}
	path := filepath.Join(s.data, "logs", name+".log")
	stream, err := s.Stream(ctx, "/v1/applications/"+name+"/logs?"+values.Encode())
	var refused *local.Problem
	if errors.Is(err, local.ErrNoAgent) || errors.As(err, &refused) && refused.Code == "unknown" {
		// Of what is gone the log is still there.
		if derr := local.Log(ctx, w, path, q, nil); !errors.Is(derr, fs.ErrNotExist) {
			return derr
		}
	}
	if err != nil {
		return err
	}
	defer stream.Close()
	if _, err := io.Copy(w, stream); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the agent has ended: %w", err)
	}
	return nil
}
