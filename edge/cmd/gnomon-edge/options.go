package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/edge/local"
	"gnomon/schema"
)

// options are the flags of the commands that ask the agent.
type options struct {
	data   string
	output string
}

func (o *options) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.data, "data", "/var/lib/gnomon", "the agent's directory; or GNOMON_DATA in the environment")
	c.Flags().StringVarP(&o.output, "output", "o", "table", "json, yaml or table")
}

// session is an agent that can be asked.
type session struct {
	*local.Client
	data   string
	format output.Format
}

func (o *options) open(c *cobra.Command) (*session, error) {
	f, err := output.Parse(o.output)
	if err != nil {
		return nil, usageError{err}
	}
	if d := os.Getenv("GNOMON_DATA"); d != "" && !c.Flags().Changed("data") {
		o.data = d
	}
	return &session{local.NewClient(o.data), o.data, f}, nil
}

// changing are the flags of the commands that change something for a time.
type changing struct {
	options
	reason string
	lease  time.Duration
	dry    bool
	wait   bool
}

func (o *changing) flags(c *cobra.Command) {
	o.options.flags(c)
	f := c.Flags()
	f.StringVar(&o.reason, "reason", "", "why, for whoever wonders in the cloud")
	f.DurationVar(&o.lease, "for", 0, "how long it holds (default 2h, or what is left of the override there is)")
	f.BoolVar(&o.dry, "dry-run", false, "say what the agent would do, and change nothing")
	f.BoolVar(&o.wait, "wait", true, "wait until it is so, or has failed")
}

// change is what is sent with every change.
func (o *changing) change() local.Change {
	return local.Change{Reason: o.reason, By: os.Getenv("SUDO_USER"), For: schema.Duration(o.lease), Dry: o.dry}
}
