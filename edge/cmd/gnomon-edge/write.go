package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/edge/local"
)

func writeCommand() *cobra.Command {
	var o options
	var policy, meter, item string
	c := &cobra.Command{
		Use:   "write VALUE",
		Short: "Write an item of a meter, if its policy lets it",
		Long: `Write an item of a meter: a number within the limits that the policy has for it,
or true or false. Nothing may be written that no policy names in its writes; how
often is limited there, too. What the meter shows afterwards is printed. Who wrote
what is in the agent's log.`,
		Example: "  gnomon-edge write --policy boiler --meter b1 --item setpoint 62.5",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if policy == "" || meter == "" || item == "" {
				return usageError{errors.New("--policy, --meter and --item say what is written")}
			}
			if !json.Valid([]byte(args[0])) {
				return usageError{fmt.Errorf("%s: must be a number, true or false", args[0])}
			}
			s, err := o.open(c)
			if err != nil {
				return err
			}
			var out local.Wrote
			in := local.Write{Meter: meter, Item: item, Value: json.RawMessage(args[0]), By: os.Getenv("SUDO_USER")}
			if err := s.Ask(c.Context(), http.MethodPost, "/v1/policies/"+url.PathEscape(policy)+"/write", in, &out); err != nil {
				return err
			}
			if s.format != output.Table {
				return output.Write(c.OutOrStdout(), s.format, out)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s of %s is %s\n", out.Item, out.Meter, out.Value)
			return nil
		},
	}
	o.flags(c)
	c.Flags().StringVar(&policy, "policy", "", "collection policy that lets it")
	c.Flags().StringVar(&meter, "meter", "", "meter of the policy")
	c.Flags().StringVar(&item, "item", "", "item of the meter")
	return c
}
