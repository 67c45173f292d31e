package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
)

// meterRead says what is to be read of which meter.
type meterRead struct {
	node, policy, meter string
	items               []string
	live                bool
	deadline            time.Duration
}

func readCommand(o *options) *cobra.Command {
	var r meterRead
	c := &cobra.Command{
		Use:   "read --node NODE --policy POLICY --meter METER",
		Short: "Print what a meter has: what the cloud has stored last, or with --live through its node, now",
		Long: `Print what a meter has. With --live its node reads it now, ahead of what is read
in cycles, and the command waits for the answer. Without it the latest readings that
the cloud has stored are printed.

The exit status is 6 when the node has not answered in time, and 1 when it isn't
connected or could not read the meter.`,
		Example: "  gnomon read --node gw-1 --policy curve --meter 000000000001\n  gnomon read --node gw-1 --policy curve --meter 000000000001 --item V1 --live --deadline 30s",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			if r.node == "" || r.policy == "" || r.meter == "" {
				return &usageError{errors.New("--node, --policy and --meter are needed")}
			}
			if r.live {
				return s.readLive(c.Context(), c.OutOrStdout(), r)
			}
			if c.Flags().Changed("deadline") {
				return &usageError{errors.New("--deadline: is for --live; without it nothing has to be waited for")}
			}
			return s.readStored(c.Context(), c.OutOrStdout(), r)
		},
	}
	f := c.Flags()
	f.StringVar(&r.node, "node", "", "the node")
	f.StringVar(&r.policy, "policy", "", "the policy that has the meter")
	f.StringVar(&r.meter, "meter", "", "the meter, by its id in the policy")
	f.StringSliceVar(&r.items, "item", nil, "items, by name (default all that the policy reads of it)")
	f.BoolVar(&r.live, "live", false, "have the node read the meter now")
	f.DurationVar(&r.deadline, "deadline", 30*time.Second, "with --live: within which the node must have answered, 1s to 2m")
	return c
}

// meterItem is what there is of one item.
type meterItem struct {
	At time.Time `json:"at"`
	collectedValue
}

// readLive asks the node.
func (s *session) readLive(ctx context.Context, w io.Writer, r meterRead) error {
	if r.deadline < time.Second || r.deadline > 2*time.Minute {
		return &usageError{fmt.Errorf("--deadline %s: must be from 1s to 2m", r.deadline)}
	}
	ctx, cancel := context.WithTimeout(ctx, max(s.timeout, r.deadline+10*time.Second))
	defer cancel()
	var answer struct {
		Error *struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error,omitempty"`
		Values map[string]meterItem `json:"values,omitempty"`
	}
	err := s.Post(ctx, "/v1/nodes/"+url.PathEscape(r.node)+"/read", map[string]any{
		"policy": r.policy, "meter": r.meter, "items": r.items, "live": true, "deadline": r.deadline.String(),
	}, "", &answer)
	if err != nil {
		return err
	}
	if s.format != output.Table {
		err = output.Write(w, s.format, answer)
	} else {
		err = printItems(w, answer.Values)
	}
	if e := answer.Error; err == nil && e != nil {
		err = fmt.Errorf("%s: %s (%s)", r.node, e.Message, e.Code)
	}
	return err
}

// readStored looks in what the cloud has of the last day for the latest of each item.
func (s *session) readStored(ctx context.Context, w io.Writer, r meterRead) error {
	const back = 24 * time.Hour
	query := url.Values{"node": {r.node}, "policy": {r.policy}, "meter": {r.meter}, "limit": {"5000"}, "from": {time.Now().Add(-back).UTC().Format(time.RFC3339)}}
	latest := map[string]meterItem{}
	for {
		var page struct {
			Items    []collectedRow `json:"items"`
			Continue string         `json:"continue"`
		}
		if err := s.one(ctx, "/v1/readings?"+query.Encode(), &page); err != nil {
			return err
		}
		for _, row := range page.Items {
			for item, v := range row.Values {
				if oneOf(r.items, item) && v.Missing == "" && row.At.After(latest[item].At) {
					latest[item] = meterItem{row.At, v}
				}
			}
		}
		if page.Continue == "" {
			break
		}
		query.Set("continue", page.Continue)
	}
	if len(latest) == 0 {
		return fmt.Errorf("the cloud has nothing of meter %s of policy %s of %s within %s: gnomon completeness %s --node %s shows what is missing, --live reads it now", r.meter, r.policy, r.node, back, r.policy, r.node)
	}
	if s.format != output.Table {
		return output.Write(w, s.format, map[string]any{"values": latest})
	}
	return printItems(w, latest)
}

func oneOf(items []string, item string) bool {
	for _, i := range items {
		if i == item {
			return true
		}
	}
	return len(items) == 0
}

func printItems(w io.Writer, values map[string]meterItem) error {
	var lines [][]string
	for _, item := range sortedKeys(values) {
		v := values[item]
		lines = append(lines, []string{item, v.text(), v.At.Format(time.RFC3339), v.Source, v.Arrived.Format(time.RFC3339)})
	}
	return output.Rows(w, []string{"ITEM", "VALUE", "AT", "SOURCE", "ARRIVED"}, lines)
}
